//! What models cost: a table with a version, ours and the user's own before it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};
use stepmill_worker_engine::model::{NanoUsd, Price};

/// The table that comes with us. Services change their prices, and contracts differ: say your own in a file.
const OURS: &str = include_str!("prices.yaml");

/// A price table that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PriceError {
    /// The file cannot be read.
    #[error("the prices cannot be read from {path}: {reason}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// It is not what it should be.
    #[error("the prices are wrong: {0}")]
    Form(String),
}

/// Prices, to be looked up by provider and model.
#[derive(Clone, Debug)]
pub struct Prices {
    version: String,
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: String,
    models: Vec<Entry>,
}

/// A price, in US dollars per million tokens.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// A model's name; with `*` at its end, the beginning of names.
    model: String,
    /// At this provider only.
    #[serde(default)]
    provider: Option<String>,
    #[serde(deserialize_with = "dollars")]
    input: NanoUsd,
    #[serde(default, deserialize_with = "some_dollars")]
    input_cached: Option<NanoUsd>,
    #[serde(default, deserialize_with = "some_dollars")]
    input_kept: Option<NanoUsd>,
    #[serde(deserialize_with = "dollars")]
    output: NanoUsd,
}

impl Prices {
    /// Ours, and before them those of a file.
    ///
    /// # Errors
    /// [`PriceError`].
    pub fn load(file: Option<&Path>) -> Result<Self, PriceError> {
        let ours = parse(OURS)?;
        let Some(path) = file else { return Ok(Self { version: ours.version, entries: ours.models }) };
        let text = crate::file::read(path).map_err(|reason| PriceError::Read { path: path.to_owned(), reason })?;
        let own = parse(&text)?;
        let version = format!("{}+{}", own.version, ours.version);
        Ok(Self { version, entries: own.models.into_iter().chain(ours.models).collect() })
    }

    /// Which table this is: goes with every sum that was computed with it.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What a model costs; `None` where nobody says. The first entry that fits counts.
    #[must_use]
    pub fn of(&self, provider: &str, model: &str) -> Option<Price> {
        let entry = self.entries.iter().find(|entry| entry.fits(provider, model))?;
        Some(Price {
            input: entry.input,
            input_cached: entry.input_cached.unwrap_or(entry.input),
            input_kept: entry.input_kept.unwrap_or(entry.input),
            output: entry.output,
        })
    }
}

impl Entry {
    fn fits(&self, provider: &str, model: &str) -> bool {
        let named = match self.model.strip_suffix('*') {
            Some(beginning) => model.starts_with(beginning),
            None => model == self.model,
        };
        named && self.provider.as_deref().is_none_or(|own| own == provider)
    }
}

fn parse(text: &str) -> Result<File, PriceError> {
    serde_saphyr::from_str(text).map_err(|e| PriceError::Form(e.to_string()))
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Given {
    Number(f64),
    Text(String),
}

fn dollars<'de, D: Deserializer<'de>>(d: D) -> Result<NanoUsd, D::Error> {
    let text = match Given::deserialize(d)? {
        // The shortest text that stands for the number is the one that was written.
        Given::Number(number) => number.to_string(),
        Given::Text(text) => text,
    };
    NanoUsd::from_usd(&text)
        .ok_or_else(|| serde::de::Error::custom(format!("`{text}` is no amount of dollars with at most nine places")))
}

fn some_dollars<'de, D: Deserializer<'de>>(d: D) -> Result<Option<NanoUsd>, D::Error> {
    dollars(d).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usd(text: &str) -> NanoUsd {
        NanoUsd::from_usd(text).unwrap()
    }

    #[test]
    fn our_table_can_be_read_and_names_its_version() {
        let prices = Prices::load(None).unwrap();
        assert!(prices.version().starts_with("20"), "{}", prices.version());
        let mini = prices.of("openai", "gpt-5-mini-2025-08-07").unwrap();
        assert_eq!((mini.input, mini.input_cached, mini.output), (usd("0.25"), usd("0.025"), usd("2")));
        let plain = prices.of("openai", "gpt-5-2025-08-07").unwrap();
        assert_eq!(plain.output, usd("10"), "a shorter beginning must not hide a longer one");
        assert_eq!(prices.of("any", "somebodys-own-model"), None);
        for (at, entry) in prices.entries.iter().enumerate() {
            let name = entry.model.trim_end_matches('*');
            let first = prices.entries.iter().position(|e| e.fits("any", name));
            assert_eq!(first, Some(at), "`{}` is hidden by an entry before it", entry.model);
        }
    }

    #[test]
    fn a_file_of_ones_own_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prices.yaml");
        let text = "version: contract-7\nmodels:\n  - {model: gpt-5-mini*, provider: azure, input: 0.1, output: '1'}\n";
        std::fs::write(&path, text).unwrap();
        let prices = Prices::load(Some(&path)).unwrap();
        assert!(prices.version().starts_with("contract-7+20"), "{}", prices.version());
        let own = prices.of("azure", "gpt-5-mini").unwrap();
        assert_eq!((own.input, own.input_cached, own.input_kept), (usd("0.1"), usd("0.1"), usd("0.1")));
        assert_eq!(prices.of("openai", "gpt-5-mini").unwrap().input, usd("0.25"));
        for (wrong, expected) in [("input: -1", "no amount"), ("input: x", "no amount"), ("inputs: 1", "inputs")] {
            std::fs::write(&path, format!("version: x\nmodels: [{{model: m, {wrong}, output: 1}}]")).unwrap();
            let error = Prices::load(Some(&path)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
