//! A number of JSON in the bytes in which PostgreSQL keeps a `numeric` (numeric.c; the same since 9.1). It
//! does not look whether `numeric` can hold it.

/// A digit of `numeric` is four of ours.
const DIGITS: i64 = 4;

/// The short form, for a scale and a weight that fit into its one header.
const SHORT: u16 = 0x8000;
const SHORT_NEGATIVE: u16 = 0x2000;
const SHORT_SCALE_SHIFT: u16 = 7;
const SHORT_WEIGHT: u16 = 0x007F;
const SHORT_MOST_SCALE: u16 = 0x003F;
const SHORT_WEIGHTS: std::ops::RangeInclusive<i16> = -64..=63;

/// The long form has two headers: sign and scale, weight.
const LONG_NEGATIVE: u16 = 0x4000;

/// The word of the length, with which every value of variable length begins.
const LENGTH_BYTES: usize = 4;

/// A number as digits of base 10,000.
struct Numeric {
    is_negative: bool,
    /// Our digits behind the point.
    scale: u16,
    /// The power of 10,000 of the first digit.
    weight: i16,
    digits: Vec<u16>,
}

/// Writes `literal`, a number as JSON has it.
pub(super) fn write(literal: &str, bytes: &mut Vec<u8>) {
    let start = bytes.len();
    bytes.extend_from_slice(&[0; LENGTH_BYTES]);
    let number = Numeric::of(literal);
    if number.scale <= SHORT_MOST_SCALE && SHORT_WEIGHTS.contains(&number.weight) {
        let sign = if number.is_negative { SHORT | SHORT_NEGATIVE } else { SHORT };
        let weight = number.weight.cast_unsigned() & SHORT_WEIGHT;
        put(bytes, sign | number.scale << SHORT_SCALE_SHIFT | weight);
    } else {
        let sign = if number.is_negative { LONG_NEGATIVE } else { 0 };
        put(bytes, sign | number.scale);
        put(bytes, number.weight.cast_unsigned());
    }
    for digit in number.digits {
        put(bytes, digit);
    }
    // No literal is near to what 30 bits can count.
    let length = u32::try_from(bytes.len() - start).unwrap_or_default();
    let word = if cfg!(target_endian = "little") { length << 2 } else { length };
    if let Some(place) = bytes.get_mut(start..start + LENGTH_BYTES) {
        place.copy_from_slice(&word.to_ne_bytes());
    }
}

fn put(bytes: &mut Vec<u8>, half_word: u16) {
    bytes.extend_from_slice(&half_word.to_ne_bytes());
}

impl Numeric {
    fn of(literal: &str) -> Self {
        let (mantissa, exponent) = literal.split_once(['e', 'E']).unwrap_or((literal, "0"));
        let exponent: i64 = exponent.parse().unwrap_or_default();
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits_before = whole.trim_start_matches('-');
        let first_power = digits_before.len() as i64 - 1 + exponent;
        let ours = digits_before
            .bytes()
            .chain(fraction.bytes())
            .map(|byte| u16::from(byte.wrapping_sub(b'0')));
        let mut number = Self {
            is_negative: whole.starts_with('-'),
            scale: u16::try_from((fraction.len() as i64 - exponent).max(0)).unwrap_or_default(),
            weight: i16::try_from(first_power.div_euclid(DIGITS)).unwrap_or_default(),
            digits: grouped(ours, DIGITS - 1 - first_power.rem_euclid(DIGITS)),
        };
        number.strip();
        number
    }

    /// Zeros at either end are not kept, and zero has no sign.
    fn strip(&mut self) {
        let used = self.digits.iter().rposition(|digit| *digit != 0).map_or(0, |last| last + 1);
        self.digits.truncate(used);
        let zeros = self.digits.iter().take_while(|digit| **digit == 0).count();
        self.digits.drain(..zeros);
        self.weight = self.weight.saturating_sub(i16::try_from(zeros).unwrap_or_default());
        if self.digits.is_empty() {
            (self.is_negative, self.weight) = (false, 0);
        }
    }
}

/// Four of our digits each, of which the first has so many zeros in front.
fn grouped(ours: impl Iterator<Item = u16>, zeros: i64) -> Vec<u16> {
    let (mut digits, mut digit, mut filled) = (Vec::new(), 0, zeros);
    for one in ours {
        digit = digit * 10 + one;
        filled += 1;
        if filled == DIGITS {
            digits.push(digit);
            (digit, filled) = (0, 0);
        }
    }
    if filled > 0 {
        let missing = u32::try_from(DIGITS - filled).unwrap_or_default();
        digits.push(digit * 10_u16.pow(missing));
    }
    digits
}
