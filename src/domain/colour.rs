//! A colour of an operator, made readable: contrast as WCAG 2.2 measures it (§1.4.3, "relative luminance").

use std::fmt;
use std::str::FromStr;

/// What text needs against what is behind it (WCAG 2.2 §1.4.3, level AA).
pub const READABLE: f64 = 4.5;

/// A colour of sRGB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour([u8; 3]);

/// Text that is not a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a colour is # and six hexadecimal digits, such as #0b57d0")]
pub struct MalformedColour;

impl Colour {
    pub const BLACK: Self = Self([0; 3]);
    pub const WHITE: Self = Self([255; 3]);

    pub const fn new(red: u8, green: u8, blue: u8) -> Self {
        Self([red, green, blue])
    }

    fn luminance(self) -> f64 {
        let linear = self.0.map(|channel| {
            let value = f64::from(channel) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    }

    /// 1 to 21.
    pub fn contrast(self, other: Self) -> f64 {
        let (one, two) = (self.luminance(), other.luminance());
        (one.max(two) + 0.05) / (one.min(two) + 0.05)
    }

    /// Black or white, whichever is easier to read on it. One of them always is readable.
    #[must_use]
    pub fn ink(self) -> Self {
        if self.contrast(Self::WHITE) >= self.contrast(Self::BLACK) { Self::WHITE } else { Self::BLACK }
    }

    /// The nearest shade of it that is readable on `ground`.
    #[must_use]
    pub fn readable_on(self, ground: Self) -> Self {
        let towards = ground.ink();
        let shades = (0..=32).map(|step| self.mixed(towards, step));
        shades.into_iter().find(|shade| shade.contrast(ground) >= READABLE).unwrap_or(towards)
    }

    /// So many parts of 32 of another one.
    fn mixed(self, other: Self, parts: u16) -> Self {
        let channel = |i: usize| (u16::from(self.0[i]) * (32 - parts) + u16::from(other.0[i]) * parts) / 32;
        Self(std::array::from_fn(|i| u8::try_from(channel(i)).unwrap_or(u8::MAX)))
    }
}

impl FromStr for Colour {
    type Err = MalformedColour;

    fn from_str(text: &str) -> Result<Self, MalformedColour> {
        let digits = text.strip_prefix('#').ok_or(MalformedColour)?;
        if digits.len() != 6 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(MalformedColour);
        }
        let number = u32::from_str_radix(digits, 16).map_err(|_| MalformedColour)?;
        let [_, red, green, blue] = number.to_be_bytes();
        Ok(Self([red, green, blue]))
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(f, "#{red:02x}{green:02x}{blue:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn contrast_is_that_of_wcag() {
        let contrast =
            |one: &str, two: &str| one.parse::<Colour>().expect("a colour").contrast(two.parse().expect("a colour"));
        assert!((contrast("#000000", "#ffffff") - 21.0).abs() < 0.01);
        assert!((contrast("#777777", "#ffffff") - 4.48).abs() < 0.01, "the grey that just fails");
        assert!((contrast("#767676", "#ffffff") - 4.54).abs() < 0.01, "the grey that just passes");
    }

    #[test]
    fn what_is_no_colour_is_refused() {
        for bad in ["", "#", "red", "#fff", "#12345g", "#1234567", "#12345", "123456", "#+12345", "#é2345"] {
            assert_eq!(bad.parse::<Colour>(), Err(MalformedColour), "{bad}");
        }
        assert_eq!("#0B57d0".parse::<Colour>().expect("a colour").to_string(), "#0b57d0");
    }

    proptest! {
        #[test]
        fn every_colour_can_be_written_on_and_has_a_shade_that_can_be_read(red: u8, green: u8, blue: u8) {
            let colour = Colour::new(red, green, blue);
            prop_assert!(colour.contrast(colour.ink()) >= READABLE);
            for ground in [Colour::new(0xf4, 0xf5, 0xf7), Colour::new(0x16, 0x1b, 0x22)] {
                prop_assert!(colour.readable_on(ground).contrast(ground) >= READABLE);
            }
        }
    }
}
