//! Figures of both brokers side by side: medians, ratios, and whether a target holds.

use std::fmt;

use serde::Serialize;

/// Something measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    /// What issue or design ask for; `None` where a figure only informs.
    pub(crate) target: Option<Target>,
}

/// How small or large a figure has to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Target {
    /// At most so many times that of ActiveMQ.
    Ratio(f64),
    /// At least so many times that of ActiveMQ.
    RatioAtLeast(f64),
    /// At most so much, in the unit of the metric.
    AtMost(f64),
    /// At least so much, in the unit of the metric.
    AtLeast(f64),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ratio(ratio) => write!(f, "<= {ratio} x"),
            Self::RatioAtLeast(ratio) => write!(f, ">= {ratio} x"),
            Self::AtMost(most) => write!(f, "<= {most}"),
            Self::AtLeast(least) => write!(f, ">= {least}"),
        }
    }
}

/// What one run of one broker came to.
pub(crate) type Sample = Vec<(Metric, f64)>;

/// One line of the report.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    scenario: &'static str,
    client: &'static str,
    metric: &'static str,
    unit: &'static str,
    /// Medians of the runs.
    openwired: f64,
    activemq: f64,
    ratio: f64,
    target: Option<String>,
    holds: Option<bool>,
}

/// Makes one row a metric of the samples of openwired and of ActiveMQ.
pub(crate) fn rows(
    scenario: &'static str,
    client: &'static str,
    [openwired, activemq]: &[Vec<Sample>; 2],
) -> Vec<Row> {
    let metrics = openwired.first().into_iter().flatten().map(|(metric, _)| *metric);
    metrics
        .map(|metric| {
            let [openwired, activemq] = [openwired, activemq].map(|runs| median(metric, runs));
            let ratio = openwired / activemq;
            let holds = metric.target.map(|target| match target {
                Target::Ratio(most) => ratio <= most,
                Target::RatioAtLeast(least) => ratio >= least,
                Target::AtMost(most) => openwired <= most,
                Target::AtLeast(least) => openwired >= least,
            });
            let target = metric.target.map(|target| target.to_string());
            let Metric { name, unit, .. } = metric;
            Row { scenario, client, metric: name, unit, openwired, activemq, ratio, target, holds }
        })
        .collect()
}

fn median(metric: Metric, runs: &[Sample]) -> f64 {
    let of_run = |run: &Sample| run.iter().find(|(other, _)| *other == metric).map(|it| it.1);
    let mut values: Vec<f64> = runs.iter().filter_map(of_run).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    if values.len() % 2 == 1 {
        at(middle)
    } else {
        f64::midpoint(at(middle.wrapping_sub(1)), at(middle))
    }
}

impl Row {
    /// `false` only where a target is missed.
    pub(crate) fn holds(&self) -> bool {
        self.holds != Some(false)
    }
}

/// As a line of the table that [`HEAD`] begins.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, client, metric, unit, .. } = self;
        let [openwired, activemq, ratio] = [self.openwired, self.activemq, self.ratio].map(figure);
        let target = self.target.as_deref().unwrap_or("");
        let holds = self.holds.map_or("", |holds| if holds { "yes" } else { "**no**" });
        write!(
            f,
            "| {scenario} | {client} | {metric}, {unit} | {openwired} | {activemq} | {ratio} | {target} | {holds} |"
        )
    }
}

/// The head of the table.
pub(crate) const HEAD: &str = "\
| scenario | client | measured | openwired | ActiveMQ | ratio | target | holds |
| --- | --- | --- | ---: | ---: | ---: | --- | --- |";

/// Three digits that count, and none behind the point where it is large.
fn figure(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        large if large >= 99.95 => format!("{value:.0}"),
        middle if middle >= 9.995 => format!("{value:.1}"),
        small if small >= 0.1 => {
            format!("{value:.2}").trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        _ => format!("{value:.4}").trim_end_matches('0').trim_end_matches('.').to_owned(),
    }
}
