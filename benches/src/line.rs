//! One line of the table: what was measured, against what, and whether the target was reached. A missed
//! target is a result like any other and never an error.

use serde::{Deserialize, Serialize};

use crate::series::Spread;

/// What a figure should come to. `at_least` is required (of a cost: at most), `aim` hoped for.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    required: f64,
    aim: Option<f64>,
    less_is_better: bool,
}

impl Target {
    pub const fn at_least(required: f64) -> Self {
        Self { required, aim: None, less_is_better: false }
    }

    pub const fn at_most(required: f64) -> Self {
        Self { required, aim: None, less_is_better: true }
    }

    pub const fn aim(self, aim: f64) -> Self {
        Self { aim: Some(aim), ..self }
    }

    fn verdict(self, figure: f64) -> &'static str {
        let reaches = |bound| if self.less_is_better { figure <= bound } else { figure >= bound };
        match (reaches(self.required), self.aim.map(reaches)) {
            (false, _) => "**missed**",
            (true, Some(false)) => "met, aim missed",
            (true, Some(true)) => "met, aim met",
            (true, None) => "met",
        }
    }

    fn words(self, unit: &str) -> String {
        let required = format!(
            "{} {}{unit}",
            if self.less_is_better { "at most" } else { "at least" },
            short(self.required)
        );
        match self.aim {
            Some(aim) => format!("{required}, aim {}{unit}", short(aim)),
            None => required,
        }
    }
}

/// All cells of a line, as they are printed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    pub what: String,
    /// whaply's own figure, with its unit.
    pub whaply: String,
    /// Whom it is compared with, and that one's figure.
    pub against: String,
    /// The figure that the target is about: median, and spread where there is one.
    pub figure: String,
    pub target: String,
    pub verdict: String,
}

impl Line {
    /// A figure of whaply's divided by one of a peer's, pair by pair.
    pub fn ratio(
        what: &str,
        whaply: (Spread, &str),
        peer: (&str, Spread, &str),
        ratio: Spread,
        target: Target,
    ) -> Self {
        Self {
            what: what.to_owned(),
            whaply: format!("{}{}", short(whaply.0.median), whaply.1),
            against: format!("{}: {}{}", peer.0, short(peer.1.median), peer.2),
            figure: spread(ratio, " ×"),
            target: target.words(" ×"),
            verdict: target.verdict(ratio.median).to_owned(),
        }
    }

    /// A figure with a bound of its own, such as `(38.0, " MB")`.
    pub fn bounded(what: &str, figure: Spread, unit: &str, target: Target) -> Self {
        Self {
            what: what.to_owned(),
            whaply: format!("{}{unit}", short(figure.median)),
            against: "–".to_owned(),
            figure: spread(figure, unit),
            target: target.words(unit),
            verdict: target.verdict(figure.median).to_owned(),
        }
    }

    /// A figure without a target, for comparison.
    pub fn reported(what: &str, whaply: String, against: String, figure: String) -> Self {
        let (target, verdict) = ("reported".to_owned(), "–".to_owned());
        Self { what: what.to_owned(), whaply, against, figure, target, verdict }
    }

    pub fn cells(&self) -> [&str; 6] {
        [&self.what, &self.whaply, &self.against, &self.figure, &self.target, &self.verdict]
    }
}

/// `7.1 × (6.5 to 7.4)`
pub fn spread(spread: Spread, unit: &str) -> String {
    if spread.least == spread.most {
        return format!("{}{unit}", short(spread.median));
    }
    format!("{}{unit} ({} to {})", short(spread.median), short(spread.least), short(spread.most))
}

/// Three digits that matter; more would be noise.
pub fn short(figure: f64) -> String {
    match figure.abs() {
        size if size >= 1_000.0 => grouped((figure / 10.0).round() * 10.0),
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

fn grouped(figure: f64) -> String {
    let digits = format!("{figure:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
