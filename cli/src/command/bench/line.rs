//! What every workload prints: one line of the same shape, and a table for people.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::stand::{Cost, Facts, Uses};
use super::times::{Times, round};
use crate::command::Context;
use crate::error::CliError;
use crate::output::table;

/// The result of a workload. What a workload does not have is null.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    steps_per_s: Option<f64>,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    cpu_s_per_1000_steps: Option<f64>,
    peak_rss_mb: Option<f64>,
    workload: Value,
    adapters: &'static str,
    profile: &'static str,
    runs: usize,
    /// Steps of each run.
    steps: usize,
    wall_s: f64,
    #[serde(flatten)]
    figures: Map<String, Value>,
    other_cores: Option<f64>,
    meaning: String,
    roles: Uses,
    versions: Value,
    settings: Value,
}

const MEANING: &str = "cpu: all processes of `roles`; peak_rss_mb: the sum over all of them (in `roles`: the largest process); \
                       other_cores: cores that other processes of the machine kept busy meanwhile";

impl Line {
    /// A line about this many runs of this many steps; `meaning` says what its times are.
    pub(crate) fn new(name: &str, facts: Facts, (runs, steps): (usize, usize), meaning: &str) -> Self {
        Self {
            steps_per_s: None,
            p50_ms: None,
            p99_ms: None,
            cpu_s_per_1000_steps: None,
            peak_rss_mb: None,
            workload: json!({ "name": name }),
            adapters: facts.adapters,
            profile: facts.profile,
            runs,
            steps,
            wall_s: 0.0,
            figures: Map::new(),
            other_cores: None,
            meaning: format!("{meaning}; {MEANING}"),
            roles: Uses::new(),
            versions: facts.versions,
            settings: facts.settings,
        }
    }

    /// What the processes used. Without steps there is no cost per step.
    pub(crate) fn cost(mut self, cost: Cost) -> Self {
        let cpu: f64 = cost.uses.values().map(|u| u.cpu_s).sum();
        let memory: f64 = cost.uses.values().map(|u| u.peak_rss_sum_mb).sum();
        let steps = (self.runs * self.steps) as f64;
        self.cpu_s_per_1000_steps = (steps > 0.0).then(|| round(cpu / steps * 1000.0));
        self.peak_rss_mb = Some(round(memory));
        self.other_cores = cost.other_cores.map(round);
        self.wall_s = round(cost.wall.as_secs_f64());
        self.roles = cost.uses;
        self
    }

    /// How long all steps took together.
    pub(crate) fn wall(mut self, wall: Duration) -> Self {
        let steps = (self.runs * self.steps) as f64;
        self.wall_s = round(wall.as_secs_f64());
        self.steps_per_s = (steps > 0.0).then(|| round(steps / wall.as_secs_f64()));
        self
    }

    /// Median and tail of these times, each divided by `parts`.
    pub(crate) fn times(mut self, times: &Times, parts: usize) -> Self {
        let part = |share: f64| times.ms(share).map(|ms| round(ms / parts.max(1) as f64));
        (self.p50_ms, self.p99_ms) = (part(0.50), part(0.99));
        self
    }

    /// Says more about the workload.
    pub(crate) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.workload[key] = value.into();
        self
    }

    /// One more figure.
    pub(crate) fn figure(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.figures.insert(key.into(), value.into());
        self
    }

    /// One more setting.
    pub(crate) fn setting(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.settings[key] = value.into();
        self
    }

    pub(crate) fn print(&self, context: &Context) -> Result<(), CliError> {
        context.out.json(self)?;
        let mut shown = table(&[]);
        for (name, value, unit, digits) in [
            ("steps per second", self.steps_per_s, "", 0),
            ("time, median", self.p50_ms, "ms", 3),
            ("time, 99 of 100", self.p99_ms, "ms", 3),
            ("CPU per 1000 steps", self.cpu_s_per_1000_steps, "s", 3),
            ("peak memory, all processes", self.peak_rss_mb, "MiB", 0),
        ] {
            if let Some(value) = value {
                shown.add_row([name, &format!("{value:.digits$} {unit}")]);
            }
        }
        for (name, value) in &self.figures {
            shown.add_row([&name.replace('_', " "), &value.to_string()]);
        }
        for (role, used) in &self.roles {
            let text = format!("{} process(es), {:.2} s CPU, {:.0} MiB", used.processes, used.cpu_s, used.peak_rss_mb);
            shown.add_row([&format!("  {role}"), &text]);
        }
        context.out.text(&shown.trim_fmt())
    }
}
