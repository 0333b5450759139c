//! A file of cases.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use stepmill_definition::{Document, Mistake, Mistakes, Placed};

use crate::answer::{Answers, Mocks};
use crate::case::Case;
use crate::outcome::Outcome;

/// The cases of one file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Suite {
    /// The definition's file, from the folder of this one; none where its name says it.
    pub definition: Option<Placed<String>>,
    /// What the steps answer in every case that says nothing else.
    pub mocks: Mocks,
    /// The cases, in order.
    pub cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    #[serde(default)]
    definition: Option<Placed<String>>,
    #[serde(default)]
    mocks: Mocks,
    #[serde(rename = "cases")]
    _cases: Vec<IgnoredAny>,
}

/// Cases of a definition of Stepmill, for `stepmill test`.
#[derive(JsonSchema)]
#[schemars(title = "Stepmill test cases", deny_unknown_fields)]
#[expect(dead_code, reason = "it stands for the form of a file")]
struct FileForm {
    /// The definition's file, from the folder of this file. For `flow.test.yaml` it is `flow.yaml` unless said.
    #[schemars(default)]
    definition: Option<String>,
    /// What the steps answer in every case that says nothing else.
    #[schemars(default)]
    mocks: BTreeMap<String, Answers>,
    /// The cases.
    cases: Vec<Case>,
}

impl Suite {
    /// Reads a file of cases.
    ///
    /// # Errors
    /// Its mistakes, at most one of each case and one of the rest.
    pub fn read(source: &str) -> Result<Self, Mistakes> {
        let document = Document::parse(source)?;
        let header = document.read::<Header>();
        let (mut cases, mut mistakes) = document.read_each::<Case>("cases");
        let header = header.map_err(|e| mistakes.push(e)).ok();
        twice(&cases, &mut mistakes);
        match header {
            Some(header) if mistakes.is_empty() => {
                for case in &mut cases {
                    case.shared.clone_from(&header.mocks);
                }
                Ok(Self { definition: header.definition, mocks: header.mocks, cases })
            }
            Some(_) | None => Err(document.mistakes(mistakes)),
        }
    }

    /// The file's own mocks that none of its cases used, as warnings. The outcomes must be those of all cases.
    #[must_use]
    pub fn unused(&self, outcomes: &[Outcome]) -> Vec<Mistake> {
        let used: BTreeSet<&str> = outcomes.iter().flat_map(|o| o.used.iter().map(String::as_str)).collect();
        let unused = self.mocks.keys().filter(|step| !used.contains(step.value.as_str()));
        unused
            .map(|step| {
                let message = format!("no case uses the mock of `{}`", step.value);
                Mistake::error("unused-mock", &step.place, message, "remove it").as_warning()
            })
            .collect()
    }
}

fn twice(cases: &[Case], mistakes: &mut Vec<Mistake>) {
    let mut names = BTreeSet::new();
    for case in cases {
        if !names.insert(&case.name.value) {
            let message = format!("a second case is called `{}`", case.name.value);
            mistakes.push(Mistake::error("duplicate-name", &case.name.place, message, "give it another name"));
        }
    }
}

/// The JSON Schema of a file of cases, for editors.
#[must_use]
pub fn schema() -> Value {
    SchemaSettings::draft07().into_generator().into_root_schema_for::<FileForm>().to_value()
}
