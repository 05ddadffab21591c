//! Shamir's secret sharing over GF(2⁸), as Vault and SOPS cut data keys into parts.
//!
//! A part is one byte of the polynomial for each byte of the secret, and the point it was taken at.

use zeroize::Zeroizing;

/// Puts a secret together from its parts.
pub(crate) fn combine(parts: &[Zeroizing<Vec<u8>>]) -> Result<Zeroizing<Vec<u8>>, String> {
    let Some(first) = parts.first().filter(|_| parts.len() >= 2) else {
        return Err("less than two parts cannot be used to reconstruct the secret".to_owned());
    };
    let length = first.len();
    if length < 2 {
        return Err("parts must be at least two bytes".to_owned());
    }
    if parts.iter().any(|part| part.len() != length) {
        return Err("all parts must be the same length".to_owned());
    }
    let points: Vec<u8> = parts.iter().map(|part| part[length - 1]).collect();
    let mut seen = [false; 256];
    for point in &points {
        if *point == 0 || std::mem::replace(&mut seen[usize::from(*point)], true) {
            return Err("duplicate part detected".to_owned());
        }
    }
    // The weight of each part does not depend on the byte that is looked for.
    let weights: Vec<u8> = points.iter().map(|own| weight(*own, &points)).collect();
    let mut secret = Zeroizing::new(vec![0; length - 1]);
    for (at, byte) in secret.iter_mut().enumerate() {
        for (part, weight) in parts.iter().zip(&weights) {
            *byte ^= multiply(part[at], *weight);
        }
    }
    Ok(secret)
}

/// Lagrange's basis polynomial of a point, at zero.
fn weight(own: u8, points: &[u8]) -> u8 {
    let others = points.iter().filter(|other| **other != own);
    others.fold(1, |product, other| {
        multiply(product, multiply(*other, invert(*other ^ own)))
    })
}

/// The product modulo x⁸+x⁴+x³+x+1, in the same time for all factors.
fn multiply(mut a: u8, b: u8) -> u8 {
    let mut product = 0;
    for bit in 0..8 {
        product ^= a & 0_u8.wrapping_sub((b >> bit) & 1);
        let overflow = 0_u8.wrapping_sub(a >> 7);
        a = (a << 1) ^ (overflow & 0x1B);
    }
    product
}

/// The inverse: the 254th power.
fn invert(a: u8) -> u8 {
    let mut result = 1;
    let mut square = a;
    for _ in 0..7 {
        square = multiply(square, square);
        result = multiply(result, square);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parts of a secret under a line through it: two of them are needed.
    fn part(secret: &[u8], slope: u8, point: u8) -> Zeroizing<Vec<u8>> {
        let mut part: Vec<u8> = secret.iter().map(|byte| byte ^ multiply(slope, point)).collect();
        part.push(point);
        Zeroizing::new(part)
    }

    #[test]
    fn every_element_but_zero_has_an_inverse() {
        for a in 1..=255 {
            assert_eq!(multiply(a, invert(a)), 1, "{a}");
        }
    }

    #[test]
    fn any_two_parts_of_a_line_give_the_secret() {
        let secret = b"a key of some bytes";
        for (one, other) in [(1, 2), (7, 255), (200, 3)] {
            let parts = [part(secret, 0x53, one), part(secret, 0x53, other)];
            assert_eq!(combine(&parts).unwrap().as_slice(), secret);
        }
    }

    #[test]
    fn parts_that_cannot_belong_together_are_refused() {
        let a = part(b"secret", 9, 1);
        assert!(combine(std::slice::from_ref(&a)).is_err());
        assert!(combine(&[a.clone(), a.clone()]).is_err());
        assert!(combine(&[a.clone(), part(b"longer secret", 9, 2)]).is_err());
        assert!(combine(&[Zeroizing::new(vec![1]), Zeroizing::new(vec![2])]).is_err());
        assert!(
            combine(&[a, part(b"secret", 9, 0)]).is_err(),
            "a part at the secret's own place"
        );
    }
}
