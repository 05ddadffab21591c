//! Large primes for RSA keys, quickly: numbers of a fixed size, a sieve before every test, and two threads that search for
//! both primes of a key. They follow from the randomness that was given, however the threads run.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, OnceLock};

use rsa::{BoxedUint, RsaPrivateKey};
use sha2::{Digest as _, Sha256};

use crate::sprig::Ambient;

/// The exponent of all keys.
const EXPONENT: u32 = 65_537;
/// Numbers are divided by the odd primes below this before they are tested.
const SMALL: usize = 1 << 15;
/// Odd numbers that are looked at after a random one.
const WINDOW: usize = 2_048;
/// Bases that a prime is tested with, after 2: as many as FIPS 186-4 asks of random numbers of this size.
const ROUNDS: usize = 4;
/// Bits of the exponent that are taken at once.
const BITS: usize = 4;

/// A private key with primes of `LIMBS` times 64 bits.
pub(super) fn key<const LIMBS: usize>(ambient: &mut dyn Ambient) -> Result<RsaPrivateKey, String> {
    let mut seed = [0; 32];
    ambient.random(&mut seed);
    let mut found: Vec<[u64; LIMBS]> = Vec::new();
    // One window in three hundred has no prime; two primes that are near each other give a key away. Neither happens often.
    for attempt in 0..16 {
        let windows = [2 * attempt, 2 * attempt + 1].map(|number| Window::<LIMBS>::new(seed, number));
        // Each begins with one of them and then helps with the other: no thread waits for the luck of another.
        std::thread::scope(|scope| {
            scope.spawn(|| windows.iter().rev().for_each(Window::search));
            windows.iter().for_each(Window::search);
        });
        for prime in windows.iter().filter_map(Window::prime) {
            if found.iter().all(|other| other[LIMBS - 1] != prime[LIMBS - 1]) {
                found.push(prime);
            }
        }
        if let [p, q, ..] = found[..] {
            let number = |limbs: [u64; LIMBS]| {
                let bytes: Vec<u8> = limbs.iter().flat_map(|limb| limb.to_le_bytes()).collect();
                BoxedUint::from_le_slice_vartime(&bytes)
            };
            return RsaPrivateKey::from_p_q(number(p), number(q), BoxedUint::from(u64::from(EXPONENT)))
                .map_err(|error| error.to_string());
        }
    }
    Err("the source of randomness is none".to_owned())
}

/// The numbers after a random one, of which the first prime is searched for. Which one that is does not depend on who tests which.
struct Window<const LIMBS: usize> {
    seed: [u8; 32],
    number: u64,
    /// What the sieve leaves of them.
    candidates: OnceLock<Vec<[u64; LIMBS]>>,
    /// The next to be tested.
    next: AtomicUsize,
    /// The first that is known to be a prime.
    found: AtomicUsize,
}

impl<const LIMBS: usize> Window<LIMBS> {
    fn new(seed: [u8; 32], number: u64) -> Self {
        Window {
            seed,
            number,
            candidates: OnceLock::new(),
            next: AtomicUsize::new(0),
            found: AtomicUsize::new(usize::MAX),
        }
    }

    fn candidates(&self) -> &[[u64; LIMBS]] {
        self.candidates
            .get_or_init(|| candidates(&mut Stream::new(self.seed, self.number)))
    }

    /// Tests what nobody tests yet, as long as it may be the first prime.
    fn search(&self) {
        loop {
            let at = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(candidate) = self.candidates().get(at) else {
                return;
            };
            if at > self.found.load(Ordering::Relaxed) {
                return;
            }
            // Bases of their own, whoever draws them.
            let mut bases = Stream::new(self.seed, !(self.number * WINDOW as u64 + at as u64));
            if Modulus::new(*candidate).is_prime(&mut bases) {
                self.found.fetch_min(at, Ordering::Relaxed);
                return;
            }
        }
    }

    fn prime(&self) -> Option<[u64; LIMBS]> {
        let at = self.found.load(Ordering::Relaxed);
        self.candidates().get(at).copied()
    }
}

/// Random numbers out of a seed: the hashes of the seed, the stream's number and a counter.
struct Stream {
    start: Sha256,
    counter: u64,
}

impl Stream {
    fn new(seed: [u8; 32], number: u64) -> Self {
        let mut start = Sha256::new();
        start.update(seed);
        start.update(number.to_le_bytes());
        Stream { start, counter: 0 }
    }

    fn number<const LIMBS: usize>(&mut self) -> [u64; LIMBS] {
        let mut out = [0; LIMBS];
        for limbs in out.chunks_mut(4) {
            let mut hash = self.start.clone();
            hash.update(self.counter.to_le_bytes());
            self.counter += 1;
            let hash = hash.finalize();
            for (limb, bytes) in limbs.iter_mut().zip(hash.chunks_exact(8)) {
                *limb = bytes
                    .iter()
                    .rev()
                    .fold(0, |limb, byte| limb << 8 | u64::from(*byte));
            }
        }
        out
    }
}

/// The odd primes below [`SMALL`].
static PRIMES: LazyLock<Vec<u32>> = LazyLock::new(|| {
    let mut composite = vec![false; SMALL];
    let mut primes = Vec::new();
    for number in (3..SMALL).step_by(2) {
        if !composite[number] {
            primes.extend(u32::try_from(number));
            (number * number..SMALL)
                .step_by(2 * number)
                .for_each(|multiple| composite[multiple] = true);
        }
    }
    primes
});

/// A number's remainder.
fn remainder<const LIMBS: usize>(number: &[u64; LIMBS], divisor: u32) -> u64 {
    let divisor = u64::from(divisor);
    number.iter().rev().fold(0, |rest, limb| {
        let rest = (rest << 32 | limb >> 32) % divisor;
        (rest << 32 | limb & 0xffff_ffff) % divisor
    })
}

/// Which of the numbers `base`, `base + 2`, … a small prime divides.
fn sieve<const LIMBS: usize>(base: &[u64; LIMBS]) -> Vec<bool> {
    let mut composite = vec![false; WINDOW];
    let mut strike = |rest: u64, prime: u32| {
        let prime = u64::from(prime);
        // The least k for which base + 2k is a multiple.
        let first = (prime - rest % prime) % prime * prime.div_ceil(2) % prime;
        let step = usize::try_from(prime).unwrap_or(WINDOW);
        let mut at = usize::try_from(first).unwrap_or(WINDOW);
        while let Some(entry) = composite.get_mut(at) {
            *entry = true;
            at += step;
        }
    };
    // Two at once: dividing the large number is what takes the time.
    for pair in PRIMES.chunks(2) {
        let rest = remainder(base, pair.iter().product());
        pair.iter().for_each(|prime| strike(rest, *prime));
    }
    composite
}

/// Numbers that may be primes, with their two highest bits set and fit for [`EXPONENT`].
fn candidates<const LIMBS: usize>(stream: &mut Stream) -> Vec<[u64; LIMBS]> {
    let mut base: [u64; LIMBS] = stream.number();
    base[0] |= 1;
    base[LIMBS - 1] |= 3 << 62;
    let numbers = sieve(&base).into_iter().enumerate().map_while(|(at, composite)| {
        let mut candidate = base;
        // A carry is rare enough to end there.
        candidate[0] = base[0].checked_add(2 * at as u64)?;
        Some((candidate, composite))
    });
    numbers
        .filter(|(candidate, composite)| !composite && remainder(candidate, EXPONENT) != 1)
        .map(|(candidate, _)| candidate)
        .collect()
}

/// An odd number with its highest bit set, to compute with remainders in Montgomery's form.
struct Modulus<const LIMBS: usize> {
    number: [u64; LIMBS],
    /// Minus its inverse modulo 2⁶⁴.
    inverse: u64,
    /// One, and minus one.
    one: [u64; LIMBS],
    minus_one: [u64; LIMBS],
}

fn subtract<const LIMBS: usize>(a: &[u64; LIMBS], b: &[u64; LIMBS]) -> ([u64; LIMBS], bool) {
    let (mut out, mut borrow) = ([0; LIMBS], false);
    for at in 0..LIMBS {
        let (limb, first) = a[at].overflowing_sub(b[at]);
        let (limb, second) = limb.overflowing_sub(u64::from(borrow));
        (out[at], borrow) = (limb, first | second);
    }
    (out, borrow)
}

/// `a · b + c + d` as low and high half; it cannot overflow.
#[expect(clippy::cast_possible_truncation, reason = "the halves are taken apart")]
fn multiply_add(a: u64, b: u64, c: u64, d: u64) -> (u64, u64) {
    let sum = u128::from(a) * u128::from(b) + u128::from(c) + u128::from(d);
    (sum as u64, (sum >> 64) as u64)
}

/// A sum of products, of 192 bits.
#[derive(Clone, Copy, Default)]
struct Sum {
    low: u64,
    middle: u64,
    high: u64,
}

impl Sum {
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the halves are taken apart")]
    fn add(&mut self, number: u128) {
        let (sum, over) = (u128::from(self.middle) << 64 | u128::from(self.low)).overflowing_add(number);
        (self.low, self.middle) = (sum as u64, (sum >> 64) as u64);
        self.high += u64::from(over);
    }

    /// Adds the products `a[i] · b[column - i]`.
    #[inline]
    fn add_column<const LIMBS: usize>(
        mut self,
        a: &[u64; LIMBS],
        b: &[u64; LIMBS],
        places: std::ops::Range<usize>,
        column: usize,
    ) -> Self {
        for at in places {
            self.add(u128::from(a[at]) * u128::from(b[column - at]));
        }
        self
    }

    /// The column of a square: all products but the middle one come twice.
    #[inline]
    fn add_square<const LIMBS: usize>(mut self, a: &[u64; LIMBS], first: usize, column: usize) -> Self {
        let half = Sum::default().add_column(a, a, first..column.div_ceil(2), column);
        self.add(u128::from(half.middle << 1 | half.low >> 63) << 64 | u128::from(half.low << 1));
        self.high += half.high << 1 | half.middle >> 63;
        if column.is_multiple_of(2) {
            self.add(u128::from(a[column / 2]) * u128::from(a[column / 2]));
        }
        self
    }

    /// Takes the lowest limb off.
    #[inline]
    fn shift(&mut self) -> u64 {
        let low = self.low;
        (self.low, self.middle, self.high) = (self.middle, self.high, 0);
        low
    }
}

impl<const LIMBS: usize> Modulus<LIMBS> {
    fn new(number: [u64; LIMBS]) -> Self {
        // Newton's iteration doubles the bits that are right.
        let mut inverse = number[0];
        for _ in 0..6 {
            inverse = inverse.wrapping_mul(2_u64.wrapping_sub(number[0].wrapping_mul(inverse)));
        }
        // 2^(64·LIMBS) less the number, which is more than half of that.
        let (one, _) = subtract(&[0; LIMBS], &number);
        let (minus_one, _) = subtract(&number, &one);
        Modulus {
            number,
            inverse: inverse.wrapping_neg(),
            one,
            minus_one,
        }
    }

    fn reduced(&self, number: [u64; LIMBS], carry: bool) -> [u64; LIMBS] {
        let (less, borrow) = subtract(&number, &self.number);
        if borrow && !carry { number } else { less }
    }

    fn double(&self, number: &[u64; LIMBS]) -> [u64; LIMBS] {
        let (mut out, mut carry) = ([0; LIMBS], 0);
        for at in 0..LIMBS {
            out[at] = number[at] << 1 | carry;
            carry = number[at] >> 63;
        }
        self.reduced(out, carry == 1)
    }

    fn multiply(&self, a: &[u64; LIMBS], b: &[u64; LIMBS]) -> [u64; LIMBS] {
        let mut sum = [0; LIMBS];
        let mut over = 0;
        for factor in b {
            let (low, mut carry) = multiply_add(a[0], *factor, sum[0], 0);
            let cancel = low.wrapping_mul(self.inverse);
            let (_, mut lost) = multiply_add(cancel, self.number[0], low, 0);
            for at in 1..LIMBS {
                let limb;
                (limb, carry) = multiply_add(a[at], *factor, sum[at], carry);
                (sum[at - 1], lost) = multiply_add(cancel, self.number[at], limb, lost);
            }
            let (limb, first) = carry.overflowing_add(lost);
            let (limb, second) = limb.overflowing_add(over);
            sum[LIMBS - 1] = limb;
            over = u64::from(first) + u64::from(second);
        }
        self.reduced(sum, over != 0)
    }

    /// The product of a number with itself, column by column: a quarter less work than [`Modulus::multiply`].
    fn square(&self, a: &[u64; LIMBS]) -> [u64; LIMBS] {
        let (mut cancel, mut out) = ([0; LIMBS], [0; LIMBS]);
        let mut sum = Sum::default();
        for column in 0..LIMBS {
            sum = sum
                .add_square(a, 0, column)
                .add_column(&cancel, &self.number, 0..column, column);
            cancel[column] = sum.low.wrapping_mul(self.inverse);
            sum.add(u128::from(cancel[column]) * u128::from(self.number[0]));
            sum.shift();
        }
        for column in LIMBS..2 * LIMBS {
            let first = column + 1 - LIMBS;
            sum = sum
                .add_square(a, first, column)
                .add_column(&cancel, &self.number, first..LIMBS, column);
            out[column - LIMBS] = sum.shift();
        }
        self.reduced(out, sum.low != 0)
    }

    /// Whether it is a prime, as far as tests by Miller and Rabin tell.
    fn is_prime(&self, stream: &mut Stream) -> bool {
        let two = self.double(&self.one);
        self.passes(&two, true)
            && (0..ROUNDS).all(|_| {
                // A random number is the form of another random number.
                let base = self.reduced(stream.number(), false);
                base == [0; LIMBS] || self.passes(&base, false)
            })
    }

    fn passes(&self, base: &[u64; LIMBS], is_two: bool) -> bool {
        let mut less = self.number;
        less[0] -= 1;
        let zeros = less.iter().take_while(|limb| **limb == 0).count();
        let twos = 64 * zeros + less.get(zeros).map_or(0, |limb| limb.trailing_zeros() as usize);
        let mut power = if is_two {
            self.power_of_two(&less, twos)
        } else {
            self.power(base, &less, twos)
        };
        if power == self.one || power == self.minus_one {
            return true;
        }
        for _ in 1..twos {
            power = self.square(&power);
            if power == self.minus_one {
                return true;
            }
        }
        false
    }

    /// The power of two to an exponent without its lowest bits.
    fn power_of_two(&self, exponent: &[u64; LIMBS], without: usize) -> [u64; LIMBS] {
        let mut power = self.one;
        for at in (without..64 * LIMBS).rev() {
            power = self.square(&power);
            if exponent[at / 64] >> (at % 64) & 1 == 1 {
                power = self.double(&power);
            }
        }
        power
    }

    /// The power to an exponent without its lowest bits.
    fn power(&self, base: &[u64; LIMBS], exponent: &[u64; LIMBS], without: usize) -> [u64; LIMBS] {
        let mut powers = [self.one; 1 << BITS];
        for at in 1..powers.len() {
            powers[at] = self.multiply(&powers[at - 1], base);
        }
        let mut power = self.one;
        let mut above = 64 * LIMBS;
        while above > without {
            let bits = (above - without).min(BITS);
            let digit = (above - bits..above).rev().fold(0, |digit, at| {
                power = self.square(&power);
                digit << 1 | (exponent[at / 64] >> (at % 64) & 1) as usize
            });
            if digit != 0 {
                power = self.multiply(&power, &powers[digit]);
            }
            above -= bits;
        }
        power
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_know_primes_from_composites() {
        let prime_or_not = |low: u64| {
            let mut number = [u64::MAX; 2];
            number[0] = low;
            Modulus::new(number).is_prime(&mut Stream::new([1; 32], 0))
        };
        // 2^128 - 159 is the largest prime below 2^128; 173, 233 and 237 below are the next ones.
        let primes: Vec<u64> = (1..=240)
            .step_by(2)
            .filter(|below| prime_or_not(0_u64.wrapping_sub(*below)))
            .collect();
        assert_eq!(primes, [159, 173, 233, 237]);
    }

    #[test]
    fn squares_and_powers_are_those_of_products() {
        let mut stream = Stream::new([7; 32], 0);
        for round in 0..200 {
            let mut number: [u64; 16] = stream.number();
            number[0] |= 1;
            number[15] |= 1 << 63;
            if round % 4 == 0 {
                number[1..].fill(u64::MAX);
            }
            let modulus = Modulus::new(number);
            let base = modulus.reduced(stream.number(), false);
            for one in [
                base,
                modulus.one,
                modulus.minus_one,
                [0; 16],
                subtract(&number, &[1; 16]).0,
            ] {
                assert_eq!(modulus.square(&one), modulus.multiply(&one, &one));
            }
            let exponent: [u64; 16] = stream.number();
            let without = round * 5;
            let slowly = |base: &[u64; 16]| {
                (without..1024).rev().fold(modulus.one, |power, at| {
                    let power = modulus.multiply(&power, &power);
                    match exponent[at / 64] >> (at % 64) & 1 {
                        0 => power,
                        _ => modulus.multiply(&power, base),
                    }
                })
            };
            assert_eq!(modulus.power(&base, &exponent, without), slowly(&base));
            let two = modulus.double(&modulus.one);
            assert_eq!(modulus.power_of_two(&exponent, without), slowly(&two));
        }
    }

    #[test]
    fn the_first_prime_of_a_window_is_found_by_any_number_of_threads() {
        for number in 0..4 {
            let alone = Window::<4>::new([3; 32], number);
            alone.search();
            let first = alone
                .candidates()
                .iter()
                .find(|candidate| Modulus::new(**candidate).is_prime(&mut Stream::new([9; 32], 0)));
            assert_eq!(alone.prime(), first.copied());
            let shared = Window::<4>::new([3; 32], number);
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| shared.search());
                }
            });
            assert_eq!(shared.prime(), alone.prime());
        }
    }

    #[test]
    fn the_sieve_strikes_multiples_of_small_primes() {
        let base = [1_000_000_007, 3 << 62];
        let composite = sieve(&base);
        for (at, struck) in composite.iter().enumerate().take(200) {
            let mut number = base;
            number[0] += 2 * at as u64;
            let divides = PRIMES.iter().any(|prime| remainder(&number, *prime) == 0);
            assert_eq!(*struck, divides, "{at}");
        }
    }

    #[test]
    fn keys_follow_from_randomness_and_are_whole() {
        struct Still;
        impl Ambient for Still {
            fn now(&mut self) -> i128 {
                0
            }
            fn random(&mut self, buffer: &mut [u8]) {
                buffer.fill(4);
            }
        }
        let one = key::<8>(&mut Still).unwrap();
        assert_eq!(one, key::<8>(&mut Still).unwrap());
        one.validate().unwrap();
    }
}
