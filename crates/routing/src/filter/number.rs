//! Numbers as filters compare them: by value, without rounding an integer to a float.

use std::cmp::Ordering;
use std::fmt;

use serde_json::Value;

/// A finite number. Integers of up to 127 bits are kept exactly.
#[derive(Debug, Clone, Copy)]
pub(super) enum Number {
    Whole(i128),
    Real(f64),
}

impl Number {
    /// The number that a value is, or that its text is by JSON's grammar.
    pub(super) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) => Self::of_json(number),
            Value::String(text) => Self::of_text(text),
            _ => None,
        }
    }

    /// The number of a JSON number; `None` if it is not finite.
    pub(super) fn of_json(number: &serde_json::Number) -> Option<Self> {
        let real = || number.as_f64().filter(|real| real.is_finite()).map(Self::Real);
        number.as_i128().map(Self::Whole).or_else(real)
    }

    fn of_text(text: &str) -> Option<Self> {
        // The reader of JSON skips white space; a number's text has none.
        let tight = text.bytes().all(|b| b.is_ascii_graphic());
        let number = tight.then(|| serde_json::from_str(text).ok()).flatten()?;
        // JSON's reader rounds what is beyond 64 bits.
        text.parse()
            .map_or_else(|_| Self::of_json(&number), |whole| Some(Self::Whole(whole)))
    }

    /// Compares by value.
    pub(super) fn order(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => a.cmp(&b),
            (Self::Whole(a), Self::Real(b)) => whole_to_real(a, b),
            (Self::Real(a), Self::Whole(b)) => whole_to_real(b, a).reverse(),
            (Self::Real(a), Self::Real(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
        }
    }
}

/// Exact: below the bound every float's floor is an integer of the same value.
fn whole_to_real(whole: i128, real: f64) -> Ordering {
    const BOUND: f64 = (1_u128 << 127) as f64;
    if real >= BOUND {
        return Ordering::Less;
    }
    if real < -BOUND {
        return Ordering::Greater;
    }
    let floor = real.floor();
    let rest = if real > floor { Ordering::Less } else { Ordering::Equal };
    whole.cmp(&(floor as i128)).then(rest)
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.order(*other).is_eq()
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(whole) => whole.fmt(f),
            // As JSON writes it: `{}` would spell out 309 digits of 1e308.
            Self::Real(real) => write!(f, "{real:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn order(a: Value, b: Value) -> Ordering {
        Number::of(&a).unwrap().order(Number::of(&b).unwrap())
    }

    #[test]
    fn texts_are_numbers_by_the_grammar_of_json() {
        for good in [
            "0",
            "-0",
            "-1",
            "1.5",
            "1e3",
            "1E+3",
            "2e-2",
            "123456789012345678901234567890",
        ] {
            assert!(Number::of(&json!(good)).is_some(), "{good}");
        }
        let bad = [
            "", " 1", "1 ", "\n1", "+1", "01", "-", ".5", "5.", "1e", "0x10", "1_000", "inf", "NaN", "1e999", "1,2",
            "１",
        ];
        for bad in bad {
            assert!(Number::of(&json!(bad)).is_none(), "{bad:?}");
        }
        for other in [json!(null), json!(true), json!([1]), json!({})] {
            assert!(Number::of(&other).is_none(), "{other}");
        }
    }

    #[test]
    fn integers_are_never_rounded() {
        assert_eq!(
            order(json!(9_007_199_254_740_993_u64), json!(9_007_199_254_740_992.0)),
            Ordering::Greater
        );
        assert_eq!(
            order(json!(u64::MAX), json!(18_446_744_073_709_551_616.0)),
            Ordering::Less
        );
        assert_eq!(order(json!(u64::MAX), json!("18446744073709551614")), Ordering::Greater);
        assert_eq!(
            order(json!("170141183460469231731687303715884105727"), json!(2_f64.powi(127))),
            Ordering::Less
        );
        assert_eq!(
            order(json!(i64::MIN), json!(-9_223_372_036_854_775_808.0)),
            Ordering::Equal
        );
        assert_eq!(
            order(json!("123456789012345678901"), json!("123456789012345678902")),
            Ordering::Less
        );
        assert_eq!(order(json!(i64::MIN), json!(-1e300)), Ordering::Greater);
    }

    #[test]
    fn fractions_and_zeros_compare_by_value() {
        assert_eq!(order(json!(6), json!(6.0)), Ordering::Equal);
        assert_eq!(order(json!(-6), json!(-6.5)), Ordering::Greater);
        assert_eq!(order(json!(6), json!("6.5")), Ordering::Less);
        assert_eq!(order(json!(0), json!(-0.0)), Ordering::Equal);
        assert_eq!(order(json!("-0"), json!("0.0")), Ordering::Equal);
        assert_eq!(order(json!("1e3"), json!(1000)), Ordering::Equal);
    }

    proptest! {
        #[test]
        fn integers_compare_as_integers_however_they_are_written(
            a in any::<i64>(), b in any::<u64>(), near in -2_i128..=2, a_is_text: bool, b_is_text: bool,
        ) {
            let write = |n: i128, text: bool| match (u64::try_from(n), i64::try_from(n)) {
                (Ok(n), _) if !text => json!(n),
                (_, Ok(n)) if !text => json!(n),
                _ => json!(n.to_string()),
            };
            for (x, y) in [(i128::from(a), i128::from(b)), (b.into(), i128::from(b) + near), (a.into(), i128::from(a) + near)] {
                prop_assert_eq!(order(write(x, a_is_text), write(y, b_is_text)), x.cmp(&y));
            }
        }

        #[test]
        fn an_integer_and_a_float_compare_exactly(whole in any::<i64>(), ulps in -3_i64..=3) {
            // Floats around the integer; each is an integer itself or far below 2^53, so i128 and f64 are exact.
            let bits = (whole as f64).to_bits().cast_signed().saturating_add(ulps);
            let real = f64::from_bits(bits.cast_unsigned());
            prop_assume!(real.is_finite());
            let expected = if real.fract() == 0.0 {
                i128::from(whole).cmp(&(real as i128))
            } else {
                (whole as f64).partial_cmp(&real).unwrap()
            };
            prop_assert_eq!(order(json!(whole), json!(real)), expected);
        }

        #[test]
        fn comparing_is_antisymmetric(a in any::<f64>(), b in any::<i64>(), c in any::<f64>()) {
            prop_assume!(a.is_finite() && c.is_finite());
            prop_assert_eq!(order(json!(a), json!(b)), order(json!(b), json!(a)).reverse());
            prop_assert_eq!(order(json!(a), json!(c)), order(json!(c), json!(a)).reverse());
        }
    }
}
