//! Large primes for RSA keys, quickly: numbers of a fixed size, a sieve before every test, and both primes of a key
//! at the same time. They follow from the randomness that was given, however the threads run.

use std::sync::LazyLock;

use rsa::{BoxedUint, RsaPrivateKey};
use sha2::{Digest as _, Sha256};

use crate::sprig::Ambient;

/// The exponent of all keys.
const EXPONENT: u32 = 65_537;
/// Numbers are divided by the odd primes below this before they are tested.
const SMALL: usize = 1 << 15;
/// Odd numbers that are looked at after a random one.
const WINDOW: usize = 2_048;
/// Bases that a prime is tested with, after 2. For random numbers of this size less would do.
const ROUNDS: usize = 6;

/// A private key with primes of `LIMBS` times 64 bits.
pub(super) fn key<const LIMBS: usize>(ambient: &mut dyn Ambient) -> Result<RsaPrivateKey, String> {
    let mut seed = [0; 32];
    ambient.random(&mut seed);
    // Two primes that are near each other give a key away; that does not happen twice.
    for attempt in 0..16 {
        let (p, q) = std::thread::scope(|scope| {
            let other = scope.spawn(|| prime::<LIMBS>(Stream::new(seed, 2 * attempt + 1)));
            let one = prime::<LIMBS>(Stream::new(seed, 2 * attempt));
            other.join().map(|other| (one, other))
        })
        .map_err(|_| "a prime could not be searched for")?;
        if p[LIMBS - 1] != q[LIMBS - 1] {
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

/// A prime with its two highest bits set, fit for [`EXPONENT`].
fn prime<const LIMBS: usize>(mut stream: Stream) -> [u64; LIMBS] {
    loop {
        let mut base: [u64; LIMBS] = stream.number();
        base[0] |= 1;
        base[LIMBS - 1] |= 3 << 62;
        for (at, composite) in sieve(&base).into_iter().enumerate() {
            let mut candidate = base;
            let Some(low) = base[0].checked_add(2 * at as u64) else {
                // A carry is rare enough to start anew.
                break;
            };
            candidate[0] = low;
            if !composite
                && remainder(&candidate, EXPONENT) != 1
                && Modulus::new(candidate).is_prime(&mut stream)
            {
                return candidate;
            }
        }
    }
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
        let mut power = self.power(base, &less, twos, is_two);
        if power == self.one || power == self.minus_one {
            return true;
        }
        for _ in 1..twos {
            power = self.multiply(&power, &power);
            if power == self.minus_one {
                return true;
            }
        }
        false
    }

    /// The power to an exponent without its lowest bits.
    fn power(
        &self,
        base: &[u64; LIMBS],
        exponent: &[u64; LIMBS],
        without: usize,
        is_two: bool,
    ) -> [u64; LIMBS] {
        let bit = |at: usize| exponent[at / 64] >> (at % 64) & 1 == 1;
        let mut power = self.one;
        for at in (without..64 * LIMBS).rev() {
            power = self.multiply(&power, &power);
            if bit(at) {
                power = if is_two {
                    self.double(&power)
                } else {
                    self.multiply(&power, base)
                };
            }
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
