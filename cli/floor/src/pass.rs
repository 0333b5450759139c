//! One load on its way: which runs are where, and how long each took. Knows neither server.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::error::FloorError;
use crate::mark::Mark;

/// What is to be run.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Load {
    /// Runs.
    pub runs: u32,
    /// Steps of each run, one after the other.
    pub steps: u32,
    /// Runs on their way at a time.
    pub in_flight: u32,
    /// Bytes that each task and each result carries.
    pub payload_bytes: usize,
}

/// How it went.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// From the first task to the last confirmation, in microseconds.
    pub wall_us: u64,
    /// From a run's first task to its last commit, in microseconds, one per run.
    pub durations_us: Vec<u64>,
}

#[derive(Debug)]
struct Run {
    done: u32,
    begun: Instant,
}

/// The runs of one load.
#[derive(Debug)]
pub(crate) struct Pass {
    load: Load,
    number: u64,
    runs: Vec<Run>,
    durations: Vec<Duration>,
}

impl Pass {
    /// Nothing has begun yet. `number` tells the load from all others on the same servers.
    pub(crate) fn new(load: Load, number: u64) -> Self {
        let runs = load.runs as usize;
        Self { load, number, runs: Vec::with_capacity(runs), durations: Vec::with_capacity(runs) }
    }

    /// Begins one more run, if one is left and there is room: its first task.
    pub(crate) fn begin(&mut self) -> Option<Mark> {
        if self.runs.len() >= self.load.runs as usize || self.under_way() >= self.load.in_flight.max(1) as usize {
            return None;
        }
        let run = u32::try_from(self.runs.len()).ok()?;
        self.runs.push(Run { done: 0, begun: Instant::now() });
        Some(Mark { load: self.number, run, done: 0 })
    }

    /// A result is committed: the run's next task, or none when that was its last step.
    pub(crate) fn advance(&mut self, result: Mark) -> Result<Option<Mark>, FloorError> {
        let run = self.runs.get_mut(result.run as usize).filter(|run| run.done == result.done);
        let Some(run) = run else { return Err(FloorError::Foreign(format!("{result:?}"))) };
        run.done += 1;
        if run.done < self.load.steps {
            return Ok(Some(Mark { done: run.done, ..result }));
        }
        self.durations.push(run.begun.elapsed());
        Ok(None)
    }

    pub(crate) fn under_way(&self) -> usize {
        self.runs.len() - self.durations.len()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.durations.len() == self.load.runs as usize
    }

    pub(crate) fn outcome(&self, wall: Duration) -> Outcome {
        Outcome { wall_us: micros(wall), durations_us: self.durations.iter().copied().map(micros).collect() }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_run_goes_through_all_steps_with_a_bounded_number_under_way() {
        let mut pass = Pass::new(Load { runs: 3, steps: 2, in_flight: 2, payload_bytes: 0 }, 1);
        let (first, second) = (pass.begin().unwrap(), pass.begin().unwrap());
        assert_eq!(pass.begin(), None, "two at a time");
        let next = pass.advance(first).unwrap().unwrap();
        assert!(pass.advance(first).is_err(), "a result counts once");
        assert_eq!(pass.advance(next).unwrap(), None);
        let third = pass.begin().unwrap();
        for mark in [second, third] {
            let next = pass.advance(mark).unwrap().unwrap();
            assert!(!pass.is_over());
            assert_eq!(pass.advance(next).unwrap(), None);
        }
        assert!(pass.is_over());
        assert_eq!(pass.outcome(Duration::from_millis(5)).durations_us.len(), 3);
    }
}
