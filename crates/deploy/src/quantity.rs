//! Quantities as Kubernetes writes them: `256m`, `1Gi`, `0.5`, `12e6`.

use std::{fmt, iter::Sum, ops::AddAssign, str::FromStr};

/// Parts of one: the finest that Kubernetes knows.
const NANOS: i128 = 1_000_000_000;

/// Powers of 1024.
const UNITS: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/// An exact amount, of cores or of bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantity {
    nanos: i128,
}

/// Text that is no quantity.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a quantity such as 256m or 1Gi")]
pub struct NotAQuantity(String);

impl Quantity {
    pub const ZERO: Self = Self { nanos: 0 };

    pub fn of(amount: i64) -> Self {
        Self {
            nanos: i128::from(amount) * NANOS,
        }
    }

    /// In thousandths, rounded up as Kubernetes does.
    pub fn milli(self) -> i128 {
        self.nanos.div_euclid(NANOS / 1000) + i128::from(self.nanos.rem_euclid(NANOS / 1000) != 0)
    }

    /// Whole units, rounded up.
    pub fn units(self) -> i128 {
        self.nanos.div_euclid(NANOS) + i128::from(self.nanos.rem_euclid(NANOS) != 0)
    }

    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    #[must_use]
    pub fn times(self, count: i64) -> Self {
        Self {
            nanos: self.nanos * i128::from(count),
        }
    }

    /// What is left, and never less than nothing.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self {
            nanos: (self.nanos - other.nanos).max(0),
        }
    }

    /// As cores: `256m`, `2`.
    pub fn cores(self) -> impl fmt::Display {
        match self.milli() {
            whole if whole % 1000 == 0 => format!("{}", whole / 1000),
            milli => format!("{milli}m"),
        }
    }

    /// As bytes, exactly: the largest unit that leaves a whole number.
    pub fn exact_bytes(self) -> String {
        let bytes = self.units();
        let power = (0..UNITS.len())
            .rev()
            .find(|&power| bytes != 0 && bytes % (1 << (10 * power)) == 0);
        power.map_or_else(
            || "0".into(),
            |power| format!("{}{}", bytes >> (10 * power), UNITS[power]),
        )
    }

    /// As bytes for people, who need no more than one decimal: `512Mi`, `23.5Gi`.
    pub fn bytes(self) -> impl fmt::Display {
        let bytes = self.units();
        // The largest unit that leaves a whole number; where there is none, one decimal says enough.
        let exact = (0..UNITS.len())
            .rev()
            .find(|&power| bytes != 0 && bytes % (1 << (10 * power)) == 0);
        let largest = (0..UNITS.len())
            .rev()
            .find(|&power| bytes >= 1 << (10 * power))
            .unwrap_or(0);
        match exact {
            Some(power) if largest <= power + 1 => format!("{}{}", bytes >> (10 * power), UNITS[power]),
            _ if largest == 0 => bytes.to_string(),
            _ => format!(
                "{:.1}{}",
                bytes as f64 / (1_u128 << (10 * largest)) as f64,
                UNITS[largest]
            ),
        }
    }
}

impl FromStr for Quantity {
    type Err = NotAQuantity;

    fn from_str(text: &str) -> Result<Self, NotAQuantity> {
        let wrong = || NotAQuantity(text.to_owned());
        let end = text
            .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-')))
            .unwrap_or(text.len());
        let (number, suffix) = text.split_at(end);
        let (numerator, denominator) = scale(suffix).ok_or_else(wrong)?;
        let (negative, digits) = match number.as_bytes().first() {
            Some(b'-') => (true, &number[1..]),
            Some(b'+') => (false, &number[1..]),
            _ => (false, number),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all = [whole, fraction].concat();
        if all.is_empty() || fraction.len() > 18 || !all.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        let amount: i128 = all.parse().map_err(|_| wrong())?;
        let divisor = denominator.checked_mul(10_i128.pow(fraction.len() as u32));
        let scaled = amount.checked_mul(numerator).and_then(|n| n.checked_mul(NANOS));
        let (Some(scaled), Some(divisor)) = (scaled, divisor) else {
            return Err(wrong());
        };
        // Finer than a billionth is rounded up, as Kubernetes does.
        let nanos = scaled / divisor + i128::from(scaled % divisor != 0);
        Ok(Self {
            nanos: if negative { -nanos } else { nanos },
        })
    }
}

/// What a suffix multiplies by, as a fraction.
fn scale(suffix: &str) -> Option<(i128, i128)> {
    let decimal = |power: u32| Some((10_i128.pow(power), 1));
    let binary = |power: u32| Some((1_i128 << (10 * power), 1));
    match suffix {
        "n" => Some((1, NANOS)),
        "u" => Some((1, 1_000_000)),
        "m" => Some((1, 1000)),
        "" => Some((1, 1)),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        exponent => {
            let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            let factor = 10_i128
                .checked_pow(power.unsigned_abs())
                .filter(|_| power.abs() <= 18)?;
            Some(if power < 0 { (1, factor) } else { (factor, 1) })
        }
    }
}

impl AddAssign for Quantity {
    fn add_assign(&mut self, other: Self) {
        self.nanos += other.nanos;
    }
}

impl Sum for Quantity {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::ZERO, |mut sum, one| {
            sum += one;
            sum
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Quantity {
        text.parse().unwrap()
    }

    #[test]
    fn every_notation_is_read_exactly() {
        let milli = [
            ("256m", 256),
            ("0.5", 500),
            ("1", 1000),
            ("1500u", 2),
            ("100n", 1),
            ("2e3", 2_000_000),
            ("5E-1", 500),
        ];
        for (text, expected) in milli {
            assert_eq!(parse(text).milli(), expected, "{text}");
        }
        let units = [
            ("512Mi", 512 << 20),
            ("1Gi", 1 << 30),
            ("1.5Gi", 3 << 29),
            ("128974848", 128_974_848),
            ("129e6", 129_000_000),
            ("129M", 129_000_000),
            ("128974848000m", 128_974_848),
            ("1E", 1_000_000_000_000_000_000),
            ("1Ei", 1 << 60),
            ("0", 0),
            ("+3", 3),
            ("-3", -3),
            (".5k", 500),
            ("5.", 5),
        ];
        for (text, expected) in units {
            assert_eq!(parse(text).units(), expected, "{text}");
        }
        for text in [
            "", "m", "1 Gi", "1gi", "1KiB", "1.2.3", "--1", "1e99", "e3", "ten", "1e", ".",
        ] {
            assert!(text.parse::<Quantity>().is_err(), "{text}");
        }
        assert_eq!(parse("1e3"), parse("1k"));
    }

    #[test]
    fn amounts_are_shown_as_people_write_them() {
        let cores = [
            ("256m", "256m"),
            ("1", "1"),
            ("3892m", "3892m"),
            ("0.5", "500m"),
            ("0", "0"),
        ];
        for (text, expected) in cores {
            assert_eq!(parse(text).cores().to_string(), expected);
        }
        let bytes = [
            ("512Mi", "512Mi"),
            ("7936Mi", "7936Mi"),
            ("185Gi", "185Gi"),
            ("1Gi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("25240182784", "23.5Gi"),
            ("1000", "1000"),
            ("0", "0"),
        ];
        for (text, expected) in bytes {
            assert_eq!(parse(text).bytes().to_string(), expected);
        }
    }
}
