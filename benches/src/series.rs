//! Figures of contestants that ran in turn, and what they say: medians and spreads of ratios, round
//! by round. It measures nothing itself.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result};

/// What a run yields, by name: several figures where it has parts (fresh messages, then the same again).
pub type Figures = Vec<(&'static str, f64)>;

/// One contestant of a contest.
pub struct Contestant<'a> {
    /// Runs once, in the round of this number.
    run: Box<dyn FnMut(u16) -> Result<Figures> + 'a>,
}

impl<'a> Contestant<'a> {
    pub fn new(run: impl FnMut(u16) -> Result<Figures> + 'a) -> Self {
        Self { run: Box::new(run) }
    }
}

/// The figures of every round, by name.
#[derive(Debug, Default)]
pub struct Series(BTreeMap<&'static str, Vec<f64>>);

impl Series {
    /// Runs all in turn, `rounds` times. Every other round runs backwards, so that nobody always comes
    /// after the same neighbour.
    pub fn of(contestants: &mut [Contestant<'_>], rounds: usize) -> Result<Self> {
        let mut series = Self::default();
        for round in 0..rounds {
            let number = u16::try_from(round)?;
            let count = contestants.len();
            for place in 0..count {
                let place = if round % 2 == 0 { place } else { count - 1 - place };
                for (name, figure) in (contestants[place].run)(number)? {
                    series.0.entry(name).or_default().push(figure);
                }
            }
            eprintln!("  round {} of {rounds}: {series}", round + 1);
        }
        Ok(series)
    }

    pub fn figures(&self, name: &str) -> Result<Spread> {
        let figures = self.0.get(name).with_context(|| format!("nobody measured {name}"))?;
        Spread::of(figures.clone())
    }

    /// `one` divided by `other`, of the same round each.
    pub fn ratio(&self, one: &str, other: &str) -> Result<Spread> {
        let [ones, others] = [one, other].map(|name| self.0.get(name));
        let ones = ones.with_context(|| format!("nobody measured {one}"))?;
        let others = others.with_context(|| format!("nobody measured {other}"))?;
        Spread::of(ones.iter().zip(others).map(|(one, other)| one / other).collect())
    }
}

/// The newest figure of each.
impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let newest = self.0.iter().filter_map(|(name, figures)| Some((name, figures.last()?)));
        let words: Vec<_> = newest.map(|(name, figure)| format!("{name} {figure:.1}")).collect();
        f.write_str(&words.join(", "))
    }
}

/// The middle of some figures, and how far they lie apart.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Spread {
    pub fn of(mut figures: Vec<f64>) -> Result<Self> {
        figures.sort_by(f64::total_cmp);
        let (least, most) = figures.first().zip(figures.last()).context("no figures")?;
        let (least, most) = (*least, *most);
        let middle = figures.len() / 2;
        let median = if figures.len() % 2 == 1 {
            figures[middle]
        } else {
            f64::midpoint(figures[middle - 1], figures[middle])
        };
        Ok(Self { median, least, most })
    }
}

/// The figure below which `share` (0 to 1) of them lie.
pub fn percentile(figures: &mut [f64], share: f64) -> Result<f64> {
    figures.sort_by(f64::total_cmp);
    let place = (figures.len() as f64 * share).ceil() as usize;
    figures.get(place.saturating_sub(1)).copied().context("no figures")
}
