//! Whole numbers of any size.
//!
//! Not arithmetic for its own sake: what counting, comparing and showing need.

use core::cmp::Ordering;
use core::fmt;
use core::ops::Add;
use core::str::FromStr;

use num_bigint::{BigInt, Sign, ToBigInt};

use crate::limits::INTEGER_DIGITS_MAX;

/// A whole number of any size. One that fits an `i64` takes no memory of its own.
///
/// Shown in decimal, and with more than [`INTEGER_DIGITS_MAX`] digits in hexadecimal (`0x…`,
/// `-0x…`); both are parsed.
///
/// ```
/// use ganger_shared::value::Integer;
///
/// let large = &Integer::from(i64::MAX) + &Integer::from(1);
/// assert_eq!(large.as_i64(), None);
/// assert_eq!(large.to_string(), "9223372036854775808");
/// assert_eq!("9223372036854775808".parse(), Ok(large));
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Integer(Size);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Size {
    Small(i64),
    /// Invariant: it does not fit an `i64`.
    Large(Box<BigInt>),
}

/// The text is no whole number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseIntegerError {
    /// Something in it is no digit, or there is none.
    #[error("{0:?} is not a whole number (digits, or hexadecimal ones after 0x)")]
    NotDigits(String),
    /// More digits than are read in decimal.
    #[error(
        "number of {digits} decimal digits where {INTEGER_DIGITS_MAX} are read; hexadecimal after 0x may be longer"
    )]
    TooLong {
        /// As many as there are.
        digits: usize,
    },
}

impl Integer {
    /// The number, if it fits.
    #[must_use]
    pub const fn as_i64(&self) -> Option<i64> {
        match &self.0 {
            Size::Small(number) => Some(*number),
            Size::Large(_) => None,
        }
    }

    /// The number, if it fits.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match &self.0 {
            Size::Small(number) => u64::try_from(*number).ok(),
            Size::Large(number) => u64::try_from(&**number).ok(),
        }
    }

    /// The number, if it fits.
    #[must_use]
    pub fn as_i128(&self) -> Option<i128> {
        match &self.0 {
            Size::Small(number) => Some((*number).into()),
            Size::Large(number) => i128::try_from(&**number).ok(),
        }
    }

    /// The number, if it fits.
    #[must_use]
    pub fn as_u128(&self) -> Option<u128> {
        match &self.0 {
            Size::Small(number) => u128::try_from(*number).ok(),
            Size::Large(number) => u128::try_from(&**number).ok(),
        }
    }

    /// How it compares to `float`, both taken exactly; `None` if that is no number.
    #[must_use]
    pub fn compare_float(&self, float: f64) -> Option<Ordering> {
        if float.is_nan() {
            return None;
        }
        if float == f64::INFINITY {
            return Some(Ordering::Less);
        }
        if float == f64::NEG_INFINITY {
            return Some(Ordering::Greater);
        }
        let whole = Self::trunc(float);
        // The same whole part: what lies behind the point decides.
        Some(self.cmp(&whole).then_with(|| 0.0_f64.total_cmp(&(float.fract() + 0.0))))
    }

    /// `float` without what lies behind its point. It is finite.
    fn trunc(float: f64) -> Self {
        small(float.trunc()).map_or_else(
            || float.trunc().to_bigint().expect("the float is finite").into(),
            Self::from,
        )
    }

    /// The float that is this very number, if there is one.
    pub(super) fn as_exact_float(&self) -> Option<f64> {
        let large = match &self.0 {
            Size::Small(number) => &BigInt::from(*number),
            Size::Large(number) => &**number,
        };
        let Some(zeros) = large.trailing_zeros() else { return Some(0.0) };
        let bits = large.bits();
        if bits - zeros > u64::from(f64::MANTISSA_DIGITS) || bits > f64::MAX_EXP as u64 {
            return None;
        }
        // At most 53 bits, so as a float it is exact; and so is a power of two.
        let odd = i64::try_from(large >> zeros).expect("at most 53 bits are left");
        let power = f64::from_bits((zeros + 1023) << 52);
        #[expect(clippy::cast_precision_loss, reason = "at most 53 bits")]
        Some(odd as f64 * power)
    }

    /// Its two's complement, the lowest byte first, as short as it can be: one byte for zero, at
    /// least nine where [`Integer::as_i64`] has nothing.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match &self.0 {
            Size::Small(number) => BigInt::from(*number).to_signed_bytes_le(),
            Size::Large(number) => number.to_signed_bytes_le(),
        }
    }

    /// The number whose two's complement is `bytes`, the lowest first; zero if there are none.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        BigInt::from_signed_bytes_le(bytes).into()
    }
}

/// `float` as a number that fits, if it is one.
pub(super) fn small(float: f64) -> Option<i64> {
    const END: f64 = 9_223_372_036_854_775_808.0;
    #[expect(clippy::cast_possible_truncation, reason = "whole and within bounds")]
    (float.trunc() == float && (-END..END).contains(&float)).then_some(float as i64)
}

impl From<BigInt> for Integer {
    fn from(number: BigInt) -> Self {
        Self(match i64::try_from(&number) {
            Ok(number) => Size::Small(number),
            Err(_) => Size::Large(Box::new(number)),
        })
    }
}

impl From<i64> for Integer {
    fn from(number: i64) -> Self {
        Self(Size::Small(number))
    }
}

/// From an integer of Rust that fits.
macro_rules! from_narrower {
    ($($narrow:ty),*) => {$(
        impl From<$narrow> for Integer {
            fn from(number: $narrow) -> Self {
                i64::from(number).into()
            }
        }
    )*};
}

from_narrower!(i8, i16, i32, u8, u16, u32);

/// From an integer of Rust that may not fit.
macro_rules! from_wider {
    ($($wide:ty),*) => {$(
        impl From<$wide> for Integer {
            fn from(number: $wide) -> Self {
                match i64::try_from(number) {
                    Ok(number) => number.into(),
                    Err(_) => Self(Size::Large(Box::new(number.into()))),
                }
            }
        }
    )*};
}

from_wider!(u64, i128, u128, usize);

impl Add for &Integer {
    type Output = Integer;

    /// The sum, which is exact.
    fn add(self, other: Self) -> Integer {
        let sum = |a: &BigInt, b: &BigInt| Integer::from(a + b);
        match (&self.0, &other.0) {
            (Size::Small(a), Size::Small(b)) => (i128::from(*a) + i128::from(*b)).into(),
            (Size::Small(a), Size::Large(b)) => sum(&(*a).into(), b),
            (Size::Large(a), Size::Small(b)) => sum(a, &(*b).into()),
            (Size::Large(a), Size::Large(b)) => sum(a, b),
        }
    }
}

impl Ord for Integer {
    fn cmp(&self, other: &Self) -> Ordering {
        let is_negative = |large: &BigInt| large.sign() == Sign::Minus;
        match (&self.0, &other.0) {
            (Size::Small(a), Size::Small(b)) => a.cmp(b),
            (Size::Large(a), Size::Large(b)) => a.cmp(b),
            (Size::Large(a), Size::Small(_)) if is_negative(a) => Ordering::Less,
            (Size::Large(_), Size::Small(_)) => Ordering::Greater,
            (Size::Small(_), Size::Large(b)) if is_negative(b) => Ordering::Greater,
            (Size::Small(_), Size::Large(_)) => Ordering::Less,
        }
    }
}

impl PartialOrd for Integer {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Integer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Bits of the largest number of so many digits are log2(10) = 3.3219… times as many.
        const DECIMAL_BITS: u64 = INTEGER_DIGITS_MAX as u64 * 33_219 / 10_000;
        match &self.0 {
            Size::Small(number) => fmt::Display::fmt(number, f),
            Size::Large(number) if number.bits() <= DECIMAL_BITS => fmt::Display::fmt(number, f),
            Size::Large(number) => write!(f, "{:#x}", **number),
        }
    }
}

impl fmt::Debug for Integer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Integer {
    type Err = ParseIntegerError;

    fn from_str(text: &str) -> Result<Self, ParseIntegerError> {
        let (negative, number) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (digits, radix) = number.strip_prefix("0x").map_or((number, 10), |digits| (digits, 16));
        if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
            return Err(ParseIntegerError::NotDigits(shortened(text)));
        }
        if let Ok(small) = text.parse::<i64>() {
            return Ok(small.into());
        }
        if radix == 10 && digits.len() > INTEGER_DIGITS_MAX {
            return Err(ParseIntegerError::TooLong { digits: digits.len() });
        }
        let size = BigInt::parse_bytes(digits.as_bytes(), radix).expect("there are only digits");
        Ok(if negative { -size } else { size }.into())
    }
}

/// Enough of a text of others to recognise it by.
pub(super) fn shortened(text: &str) -> String {
    const SHOWN_BYTES: usize = 60;
    if text.len() <= SHOWN_BYTES {
        text.to_owned()
    } else {
        format!("{}…", &text[..text.floor_char_boundary(SHOWN_BYTES)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integer(text: &str) -> Integer {
        text.parse().unwrap()
    }

    #[test]
    fn number_that_fits_64_bits_has_one_form_however_it_was_made() {
        let five = Integer::from(5_i64);
        for other in [
            Integer::from(5_u64),
            Integer::from(5_i128),
            Integer::from(5_u128),
            integer("0x5"),
            integer("005"),
            &integer("18446744073709551615") + &integer("-18446744073709551610"),
        ] {
            assert_eq!((other.as_i64(), &other), (Some(5), &five));
        }
        let least = Integer::from(i128::from(i64::MIN));
        assert_eq!(least.as_i64(), Some(i64::MIN));
        assert_eq!((&least + &Integer::from(-1)).as_i64(), None);
    }

    #[test]
    fn conversions_hold_as_far_as_the_type_does() {
        assert_eq!(Integer::from(u64::MAX).as_u64(), Some(u64::MAX));
        assert_eq!(Integer::from(-1).as_u64(), None);
        assert_eq!(Integer::from(i128::MIN).as_i128(), Some(i128::MIN));
        assert_eq!(Integer::from(u128::MAX).as_u128(), Some(u128::MAX));
        assert_eq!(Integer::from(u128::MAX).as_i128(), None);
    }

    #[test]
    fn bytes_of_a_number_are_its_shortest_and_it_is_made_of_any() {
        for (text, bytes) in [
            ("0", &[0][..]),
            ("-1", &[0xff]),
            ("128", &[0x80, 0]),
            ("-128", &[0x80]),
            ("18446744073709551615", &[255, 255, 255, 255, 255, 255, 255, 255, 0]),
        ] {
            assert_eq!(
                (integer(text).to_bytes(), Integer::from_bytes(bytes)),
                (bytes.to_vec(), integer(text))
            );
        }
        assert_eq!(Integer::from_bytes(&[]), Integer::from(0));
        assert_eq!(Integer::from_bytes(&[5, 0, 0]), Integer::from(5));
    }

    #[test]
    fn order_is_that_of_the_numbers_across_both_forms() {
        let ordered =
            ["-99999999999999999999", "-9223372036854775808", "-1", "0", "9223372036854775807"]
                .into_iter()
                .chain(["9223372036854775808", "99999999999999999999"])
                .map(integer)
                .collect::<Vec<_>>();
        assert!(ordered.is_sorted_by(|a, b| a < b), "{ordered:?}");
    }

    #[test]
    fn integers_and_floats_compare_by_their_exact_values() {
        let compare = |text: &str, float: f64| integer(text).compare_float(float);
        assert_eq!(compare("9007199254740993", 9_007_199_254_740_992.0), Some(Ordering::Greater));
        assert_eq!(compare("9223372036854775807", 2_f64.powi(63)), Some(Ordering::Less));
        assert_eq!(compare("9223372036854775808", 2_f64.powi(63)), Some(Ordering::Equal));
        assert_eq!(compare("-9223372036854775808", -(2_f64.powi(63))), Some(Ordering::Equal));
        assert_eq!(compare("2", 2.5), Some(Ordering::Less));
        assert_eq!(compare("-2", -2.5), Some(Ordering::Greater));
        assert_eq!(compare("0", -0.0), Some(Ordering::Equal));
        assert_eq!(compare("-99999999999999999999", f64::NEG_INFINITY), Some(Ordering::Greater));
        assert_eq!(compare("99999999999999999999", f64::INFINITY), Some(Ordering::Less));
        assert_eq!(compare("0", f64::NAN), None);
    }

    #[test]
    fn float_of_a_number_is_exact_or_there_is_none() {
        let largest = Integer::trunc(f64::MAX);
        assert_eq!(largest.as_exact_float(), Some(f64::MAX));
        assert_eq!((&largest + &Integer::from(1)).as_exact_float(), None);
        assert_eq!((&largest + &largest).as_exact_float(), None);
        assert_eq!(integer("-18446744073709551616").as_exact_float(), Some(-(2_f64.powi(64))));
        assert_eq!(integer("18446744073709551617").as_exact_float(), None);
        assert_eq!(integer("0").as_exact_float(), Some(0.0));
    }

    #[test]
    fn very_long_number_is_shown_in_hexadecimal_and_read_again() {
        let decimal = "9".repeat(INTEGER_DIGITS_MAX - 1);
        assert_eq!(integer(&decimal).to_string(), decimal);
        let long = format!("-0x1{}", "0".repeat(100_000));
        assert_eq!(integer(&long).to_string(), long);
        let digits = INTEGER_DIGITS_MAX + 1;
        let too_long = ParseIntegerError::TooLong { digits };
        assert_eq!("9".repeat(digits).parse::<Integer>(), Err(too_long));
    }

    #[test]
    fn whatever_is_shown_is_within_what_is_read() {
        let most = Integer::from((BigInt::from(1) << 14_284) + 1);
        assert_eq!(integer(&most.to_string()), most);
    }

    #[test]
    fn text_that_is_no_number_is_refused_with_the_text() {
        for text in
            ["", "-", "0x", "1.5", "--1", "1_000", "0xg", "٣", "+1", "99999999999999999999a"]
        {
            let error = text.parse::<Integer>().unwrap_err();
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
    }
}
