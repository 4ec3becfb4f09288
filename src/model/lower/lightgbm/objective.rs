//! Objectives of LightGBM, by the text that it saves: what becomes of raw scores.
#![forbid(unsafe_code)]

use crate::model::lower::Refusal;
use crate::model::lower::lightgbm::text::{short, tokens};
use crate::model::plan::BoostedLink;

/// The output transform of an objective such as `binary sigmoid:1`.
///
/// # Errors
///
/// [`Refusal::Uncovered`] for objectives that LightGBM does not know, or whose parameters do not fit.
pub(super) fn link(objective: &str, columns: u32) -> Result<BoostedLink, Refusal> {
    let mut parts = tokens(objective);
    let name = parts.next().unwrap_or_default();
    let parameters: Vec<&str> = parts.collect();
    let parameter = |key: &str| parameters.iter().rev().find_map(|part| part.strip_prefix(key));
    let sqrt = parameters.contains(&"sqrt");
    let one = |link| if columns == 1 { Ok(link) } else { Err(disagree(name, columns)) };
    let per_class = |link| match parameter("num_class:").and_then(|n| n.parse::<u32>().ok()) {
        Some(n) if columns == n => Ok(link),
        _ => Err(disagree(name, columns)),
    };
    match name {
        "" | "none" | "null" | "custom" | "na" => Ok(BoostedLink::Identity),
        "regression" | "regression_l1" | "quantile" | "fair" | "mape" | "mean_absolute_percentage_error"
            if sqrt =>
        {
            one(BoostedLink::SignedSquare)
        }
        "regression" | "regression_l1" | "quantile" | "fair" | "mape" | "mean_absolute_percentage_error" => {
            one(BoostedLink::Identity)
        }
        "huber" | "lambdarank" | "rank_xendcg" => one(BoostedLink::Identity),
        "poisson" | "gamma" | "tweedie" => one(BoostedLink::Exponential),
        "binary" => one(BoostedLink::Sigmoid(slope(parameter("sigmoid:"))?)),
        "cross_entropy" | "xentropy" => one(BoostedLink::Sigmoid(1.0)),
        "cross_entropy_lambda" | "xentlambda" => one(BoostedLink::Softplus),
        "multiclass" => per_class(BoostedLink::Softmax),
        "multiclassova" => per_class(BoostedLink::Sigmoid(slope(parameter("sigmoid:"))?)),
        _ => Err(Refusal::uncovered(format!("its objective `{}` is not known", short(objective)))),
    }
}

fn disagree(name: &str, columns: u32) -> Refusal {
    Refusal::uncovered(format!("its objective `{name}` does not fit {columns} trees in an iteration"))
}

fn slope(text: Option<&str>) -> Result<f64, Refusal> {
    let slope = text.and_then(atof).filter(|slope| slope.is_finite() && *slope > 0.0);
    slope.ok_or_else(|| Refusal::uncovered("its objective has no positive `sigmoid`"))
}

/// A number as LightGBM reads parameters of objectives, which is not always the nearest float.
fn atof(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| {
        let all = text.bytes().all(|byte| byte.is_ascii_digit());
        (all && text.len() <= 40)
            .then(|| text.bytes().fold(0.0, |value, byte| value * 10.0 + f64::from(byte - b'0')))
    };
    let value = digits(whole)? + digits(fraction)? / power(10.0, fraction.len() as u32);
    let exponent: i32 = exponent.parse().ok().filter(|exponent: &i32| exponent.unsigned_abs() <= 308)?;
    let (mut left, mut scale) = (exponent.unsigned_abs(), 1.0);
    for (step, factor) in [(50, 1e50), (8, 1e8), (1, 10.0)] {
        while left >= step {
            scale *= factor;
            left -= step;
        }
    }
    Some(if exponent < 0 { value / scale } else { value * scale })
}

/// LightGBM's power, with its order of multiplications.
fn power(base: f64, exponent: u32) -> f64 {
    match exponent {
        0 => 1.0,
        even if even % 2 == 0 => power(base * base, even / 2),
        third if third % 3 == 0 => power(base * base * base, third / 3),
        other => base * power(base, other - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objectives_have_the_transforms_that_lightgbm_gives_them() {
        let cases = [
            ("", 3, BoostedLink::Identity),
            ("regression", 1, BoostedLink::Identity),
            ("regression sqrt", 1, BoostedLink::SignedSquare),
            ("huber sqrt", 1, BoostedLink::Identity),
            ("poisson", 1, BoostedLink::Exponential),
            ("binary sigmoid:1", 1, BoostedLink::Sigmoid(1.0)),
            ("binary sigmoid:0.7", 1, BoostedLink::Sigmoid(0.7)),
            ("multiclass num_class:3", 3, BoostedLink::Softmax),
            ("multiclassova num_class:3 sigmoid:2", 3, BoostedLink::Sigmoid(2.0)),
            ("cross_entropy_lambda", 1, BoostedLink::Softplus),
        ];
        for (objective, columns, expected) in cases {
            assert_eq!(link(objective, columns).ok(), Some(expected), "{objective}");
        }
    }

    #[test]
    fn objectives_that_do_not_fit_are_refused() {
        for (objective, columns) in [
            ("binary", 1),
            ("binary sigmoid:0", 1),
            ("binary sigmoid:nan", 1),
            ("binary sigmoid:1", 2),
            ("multiclass num_class:3", 2),
            ("multiclass", 2),
            ("invented", 1),
        ] {
            assert!(link(objective, columns).is_err(), "{objective}");
        }
    }

    #[test]
    fn parameters_are_read_digit_by_digit() {
        assert_eq!(atof("1e-05"), Some(1.0 / 100_000.0));
        assert_eq!(atof("12.5"), Some(12.5));
        assert_eq!(atof("1.2e3"), Some(1200.0));
        assert_eq!(atof("-1"), None);
        assert_eq!(atof("1e999"), None);
    }
}
