//! `numeric`, exactly: read and written in both formats, compared and added as PostgreSQL does.
//!
//! The layout is that of the server's `NumericVar`: digits of base 10,000, the weight of the first one, and the
//! display scale, which sums take from the larger of the two.

use bytes::BufMut;
use smallvec::SmallVec;
use std::cmp::Ordering;

/// The base of a digit, as on the wire.
const BASE: i16 = 10_000;
/// Decimal digits in one of base 10,000.
const DECIMALS: usize = 4;
/// Largest display scale (`NUMERIC_DSCALE_MAX`).
const MAX_SCALE: u16 = 0x3FFF;
/// Largest weight of the first digit (`NUMERIC_WEIGHT_MAX`): 131,072 decimal digits before the point.
const MAX_WEIGHT: i32 = 0x7FFF;
/// No `numeric` prints longer than sign, point, and the digits of the largest weight and scale.
const MAX_TEXT: usize = 2 + (MAX_WEIGHT as usize + 1) * DECIMALS + MAX_SCALE as usize;

const SIGN_POSITIVE: u16 = 0x0000;
const SIGN_NEGATIVE: u16 = 0x4000;
const SIGN_NAN: u16 = 0xC000;
const SIGN_INFINITY: u16 = 0xD000;
const SIGN_MINUS_INFINITY: u16 = 0xF000;
/// What `numeric_send` writes as display scale of an infinity: the flag bits read as a short header.
const INFINITY_SCALE: u16 = 32;

type Digits = SmallVec<[i16; 10]>;

/// A `numeric` value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Numeric {
    Nan,
    Infinity,
    MinusInfinity,
    Finite(Decimal),
}

/// A finite value: the sum of `digits[i] * 10000^(weight - i)`.
///
/// Neither the first nor the last digit is 0; zero has none, weight 0 and no sign.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Decimal {
    negative: bool,
    weight: i32,
    scale: u16,
    digits: Digits,
}

impl Numeric {
    /// What `numeric_out` printed; `None` if it did not.
    pub(crate) fn from_text(text: &[u8]) -> Option<Self> {
        match text {
            b"NaN" => return Some(Numeric::Nan),
            b"Infinity" => return Some(Numeric::Infinity),
            b"-Infinity" => return Some(Numeric::MinusInfinity),
            _ if text.len() > MAX_TEXT => return None,
            _ => {}
        }
        let (negative, text) = match text.strip_prefix(b"-") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let point = memchr::memchr(b'.', text).unwrap_or(text.len());
        let (whole, fraction) = text.split_at(point);
        let fraction = match fraction.split_first() {
            None => fraction,
            Some((_, [])) => return None,
            Some((_, digits)) => digits,
        };
        if whole.is_empty() || !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
            return None;
        }
        let scale = u16::try_from(fraction.len())
            .ok()
            .filter(|scale| *scale <= MAX_SCALE)?;
        let mut digits: Digits = whole
            .rchunks(DECIMALS)
            .rev()
            .map(|chunk| digit(chunk, chunk.len()))
            .collect();
        let weight = i32::try_from(digits.len()).ok()? - 1;
        digits.extend(fraction.chunks(DECIMALS).map(|chunk| digit(chunk, DECIMALS)));
        Decimal::normalised(negative, weight, scale, digits).map(Numeric::Finite)
    }

    /// What `numeric_send` sent; `None` if it did not.
    pub(crate) fn from_binary(bytes: &[u8]) -> Option<Self> {
        let (words, []) = bytes.as_chunks::<2>() else {
            return None;
        };
        let [count, weight, sign, scale, digits @ ..] = words else {
            return None;
        };
        let negative = match u16::from_be_bytes(*sign) {
            SIGN_POSITIVE => false,
            SIGN_NEGATIVE => true,
            SIGN_NAN => return Some(Numeric::Nan),
            SIGN_INFINITY => return Some(Numeric::Infinity),
            SIGN_MINUS_INFINITY => return Some(Numeric::MinusInfinity),
            _ => return None,
        };
        let scale = u16::from_be_bytes(*scale);
        if digits.len() != usize::from(u16::from_be_bytes(*count)) || scale > MAX_SCALE {
            return None;
        }
        let digits: Digits = digits.iter().map(|digit| i16::from_be_bytes(*digit)).collect();
        if !digits.iter().all(|digit| (0..BASE).contains(digit)) {
            return None;
        }
        let weight = i32::from(i16::from_be_bytes(*weight));
        Decimal::normalised(negative, weight, scale, digits).map(Numeric::Finite)
    }

    /// Appends what `numeric_out` prints.
    pub(crate) fn put_text(&self, out: &mut impl BufMut) {
        match self {
            Numeric::Nan => out.put_slice(b"NaN"),
            Numeric::Infinity => out.put_slice(b"Infinity"),
            Numeric::MinusInfinity => out.put_slice(b"-Infinity"),
            Numeric::Finite(decimal) => decimal.put_text(out),
        }
    }

    /// Appends what `numeric_send` sends.
    pub(crate) fn put_binary(&self, out: &mut impl BufMut) {
        match self {
            Numeric::Nan => put_header(out, 0, 0, SIGN_NAN, 0),
            Numeric::Infinity => put_header(out, 0, 0, SIGN_INFINITY, INFINITY_SCALE),
            Numeric::MinusInfinity => put_header(out, 0, 0, SIGN_MINUS_INFINITY, INFINITY_SCALE),
            Numeric::Finite(decimal) => {
                let sign = if decimal.negative {
                    SIGN_NEGATIVE
                } else {
                    SIGN_POSITIVE
                };
                // `normalised` holds weight and count inside their types.
                put_header(
                    out,
                    decimal.digits.len() as u16,
                    decimal.weight as i16,
                    sign,
                    decimal.scale,
                );
                decimal.digits.iter().for_each(|digit| out.put_i16(*digit));
            }
        }
    }

    /// `numeric_cmp`: NaN is equal to itself and above everything.
    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Numeric::Finite(left), Numeric::Finite(right)) => left.compare(right),
            _ => self.rank().cmp(&other.rank()),
        }
    }

    /// `numeric_add`; `None` where the sum overflows the format.
    pub(crate) fn add(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Numeric::Finite(left), Numeric::Finite(right)) => left.add(right).map(Numeric::Finite),
            (Numeric::Nan, _)
            | (_, Numeric::Nan)
            | (Numeric::Infinity, Numeric::MinusInfinity)
            | (Numeric::MinusInfinity, Numeric::Infinity) => Some(Numeric::Nan),
            (Numeric::Infinity, _) | (_, Numeric::Infinity) => Some(Numeric::Infinity),
            (Numeric::MinusInfinity, _) | (_, Numeric::MinusInfinity) => Some(Numeric::MinusInfinity),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Numeric::MinusInfinity => 0,
            Numeric::Finite(_) => 1,
            Numeric::Infinity => 2,
            Numeric::Nan => 3,
        }
    }
}

impl Decimal {
    /// Without zeros at the ends; `None` where it does not fit the format.
    fn normalised(negative: bool, weight: i32, scale: u16, mut digits: Digits) -> Option<Self> {
        while digits.last() == Some(&0) {
            digits.pop();
        }
        let zeros = digits.iter().take_while(|digit| **digit == 0).count();
        digits.drain(..zeros);
        if digits.is_empty() {
            return Some(Self {
                negative: false,
                weight: 0,
                scale,
                digits,
            });
        }
        let weight = weight - i32::try_from(zeros).ok()?;
        let fits = (-MAX_WEIGHT - 1..=MAX_WEIGHT).contains(&weight) && u16::try_from(digits.len()).is_ok();
        fits.then_some(Self {
            negative,
            weight,
            scale,
            digits,
        })
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (self.negative, other.negative) {
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, false) => self.compare_absolute(other),
            (true, true) => other.compare_absolute(self),
        }
    }

    fn compare_absolute(&self, other: &Self) -> Ordering {
        match (self.digits.is_empty(), other.digits.is_empty()) {
            (false, false) => self
                .weight
                .cmp(&other.weight)
                .then_with(|| self.digits.cmp(&other.digits)),
            (self_is_zero, other_is_zero) => other_is_zero.cmp(&self_is_zero),
        }
    }

    fn add(&self, other: &Self) -> Option<Self> {
        let scale = self.scale.max(other.scale);
        if self.negative == other.negative {
            return combine(self, other, 1, self.negative, scale);
        }
        match self.compare_absolute(other) {
            Ordering::Less => combine(other, self, -1, other.negative, scale),
            Ordering::Equal | Ordering::Greater => combine(self, other, -1, self.negative, scale),
        }
    }

    /// The digit of this weight: 0 outside of those that are written.
    fn digit_at(&self, weight: i32) -> i16 {
        let index = usize::try_from(self.weight - weight).ok();
        index
            .and_then(|index| self.digits.get(index))
            .copied()
            .unwrap_or(0)
    }

    fn lowest_weight(&self) -> i32 {
        self.weight - self.digits.len() as i32 + 1
    }

    fn put_text(&self, out: &mut impl BufMut) {
        if self.negative {
            out.put_u8(b'-');
        }
        if self.weight < 0 {
            out.put_u8(b'0');
        }
        for weight in (0..=self.weight).rev() {
            let decimals = decimals(self.digit_at(weight));
            let zeros = if weight == self.weight {
                decimals.iter().take_while(|d| **d == b'0').count()
            } else {
                0
            };
            // A first digit of 0 is the number 0: one decimal of it is printed.
            out.put_slice(decimals.get(zeros.min(DECIMALS - 1)..).unwrap_or_default());
        }
        if self.scale > 0 {
            out.put_u8(b'.');
        }
        let mut left = usize::from(self.scale);
        let mut weight = -1;
        while left > 0 {
            let decimals = decimals(self.digit_at(weight));
            let printed = left.min(DECIMALS);
            out.put_slice(decimals.get(..printed).unwrap_or_default());
            left -= printed;
            weight -= 1;
        }
    }
}

/// `larger + sign * smaller` by absolute values, `larger` not below `smaller` where `sign` is -1.
fn combine(larger: &Decimal, smaller: &Decimal, sign: i16, negative: bool, scale: u16) -> Option<Decimal> {
    if smaller.digits.is_empty() {
        return Decimal::normalised(negative, larger.weight, scale, larger.digits.clone());
    }
    if larger.digits.is_empty() {
        return Decimal::normalised(negative, smaller.weight, scale, smaller.digits.clone());
    }
    let top = larger.weight.max(smaller.weight) + 1;
    let bottom = larger.lowest_weight().min(smaller.lowest_weight());
    let mut carry = 0;
    let mut digits: Digits = (bottom..=top)
        .map(|weight| {
            let sum = larger.digit_at(weight) + sign * smaller.digit_at(weight) + carry;
            carry = sum.div_euclid(BASE);
            sum.rem_euclid(BASE)
        })
        .collect();
    digits.reverse();
    Decimal::normalised(negative, top, scale, digits)
}

/// The decimal digits of `chunk`, followed by zeros up to `width`, as one number.
fn digit(chunk: &[u8], width: usize) -> i16 {
    let number = chunk
        .iter()
        .fold(0, |sum, decimal| sum * 10 + i16::from(decimal - b'0'));
    (chunk.len()..width).fold(number, |sum, _| sum * 10)
}

fn decimals(digit: i16) -> [u8; DECIMALS] {
    // Digits are below 10,000: every quotient is one decimal.
    [1000, 100, 10, 1].map(|unit| b'0' + (digit / unit % 10) as u8)
}

fn put_header(out: &mut impl BufMut, count: u16, weight: i16, sign: u16, scale: u16) {
    out.put_u16(count);
    out.put_i16(weight);
    out.put_u16(sign);
    out.put_u16(scale);
}

#[cfg(test)]
mod tests;
