//! The load: runs of ten steps, each of which gives a fresh random value and leaves a trace of that in a file outside of the system.

use std::fmt::Write as _;

use futures::StreamExt;
use serde_json::{Value, json};
use stepmill_tests::client::JsonClient;

/// Steps of one run.
pub(crate) const STEPS: usize = 10;

/// A chain of ten steps; the output is the array of their values.
pub(crate) fn chain() -> String {
    let mut text = String::from(
        "document: { dsl: '1.0.3', namespace: default, name: chain, version: '1.0.0' }\ninput: { from: '${ [] }' }\ndo:\n",
    );
    for n in 0..STEPS {
        // Odd steps have a retry policy that the worker may carry out by itself, even ones leave failures to the engine.
        writeln!(
            text,
            "  - s{n}:\n      call: random\n      with: {{ ms: 2 }}\n      output: {{ as: '${{ $input + [.] }}' }}"
        )
        .ok();
    }
    text
}

/// Submits runs, several at a time; gives their ids in order.
pub(crate) async fn submit(client: &JsonClient, label: &str, count: usize) -> Vec<String> {
    futures::stream::iter(0..count)
        .map(|n| async move { client.submit("chain", &format!("{label}-{n}"), &json!({})).await })
        .buffered(40)
        .collect()
        .await
}

/// Waits for all of them; gives run and view.
pub(crate) async fn results(client: &JsonClient, runs: &[String]) -> Vec<(String, Value)> {
    futures::stream::iter(runs)
        .map(|run| async move { (run.clone(), client.result(run, std::time::Duration::from_secs(90)).await) })
        .buffered(64)
        .collect()
        .await
}

/// A small generator of numbers from a seed, so that a failed round can be named.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed ^ 0x9E37_79B9_7F4A_7C15)
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n.max(1)
    }
}
