//! Secrets: puts their values where an input refers to them, and takes them out of error texts again. Values are never
//! logged.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;
use stepmill_protocol::problem::Standard;
use stepmill_protocol::{Problem, SecretScope};

use crate::failure::Failure;

/// What stands between a reference's name and the text after it.
const REFERENCE_END: char = '\u{2063}';
/// The environment variable of a secret begins with this.
const VARIABLE_PREFIX: &str = "STEPMILL_SECRET_";
/// A part of a secret that is shorter would be found in texts that have nothing to do with it.
const PART_BYTES_MIN: usize = 4;

type Variables = dyn Fn(&str) -> Option<String> + Send + Sync;

/// Where a worker finds its secrets: the variable `STEPMILL_SECRET_<NAME>` (upper case, `-` as `_`), then a file with
/// the secret's name in the folder of secrets.
#[derive(Clone)]
pub struct Secrets {
    variables: Arc<Variables>,
    folder: Option<PathBuf>,
}

impl Secrets {
    /// From the process's environment and, where given, a folder with one file per secret.
    #[must_use]
    pub fn from_env(folder: Option<PathBuf>) -> Self {
        Self { variables: Arc::new(|name| std::env::var(name).ok()), folder }
    }

    /// From a fixed table of variables, for tests.
    #[must_use]
    pub fn of(variables: BTreeMap<String, String>) -> Self {
        Self { variables: Arc::new(move |name| variables.get(name).cloned()), folder: None }
    }

    /// The environment variable that holds the secret `name`.
    #[must_use]
    pub fn variable(name: &str) -> String {
        format!("{VARIABLE_PREFIX}{}", name.to_uppercase().replace('-', "_"))
    }

    /// Replaces all references in `input`. Gives back what was put in, to be hidden again.
    pub(crate) async fn fill(&self, scope: &SecretScope, input: &mut Value) -> Result<Revealed, Failure> {
        let mut revealed = Revealed::default();
        if scope.mark.is_empty() {
            return Ok(revealed);
        }
        let mut names = Vec::new();
        each_string(input, &mut |text| collect_names(scope, text, &mut names));
        for name in names {
            let value = self.get(scope, &name).await?;
            revealed.values.push((name, value));
        }
        each_string(input, &mut |text| {
            for (name, value) in &revealed.values {
                let reference = scope.reference(name);
                if text.contains(&reference) {
                    *text = text.replace(&reference, value);
                }
            }
        });
        Ok(revealed)
    }

    async fn get(&self, scope: &SecretScope, name: &str) -> Result<String, Failure> {
        if !scope.names.iter().any(|declared| declared == name) {
            let text = format!("the input refers to secret `{name}`, which `use.secrets` does not declare");
            return Err(Failure::new(Problem::standard(Standard::Configuration, text), false));
        }
        self.look_up(name).await
    }

    /// The value of a secret that the worker itself needs, whatever a definition says. Keep it out of errors and logs; see
    /// [`hide_secret`].
    ///
    /// # Errors
    /// A terminal [`Failure`] that says where the secret should be.
    pub async fn look_up(&self, name: &str) -> Result<String, Failure> {
        let wrong = |text: String| Failure::new(Problem::standard(Standard::Configuration, text), false);
        let safe = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        if !safe {
            return Err(wrong(format!("secret `{name}`: use letters, digits, `-` and `_` in the names of secrets")));
        }
        let variable = Self::variable(name);
        if let Some(value) = (self.variables)(&variable) {
            return Ok(value);
        }
        let Some(folder) = &self.folder else {
            return Err(wrong(format!("secret `{name}` is missing: set {variable} for the workers of this pool")));
        };
        let file = folder.join(name);
        match tokio::fs::read_to_string(&file).await {
            Ok(value) => Ok(value.trim_end_matches(['\r', '\n']).to_owned()),
            Err(e) => Err(wrong(format!(
                "secret `{name}` is missing: set {variable} for the workers of this pool, or put it into {} ({e})",
                file.display()
            ))),
        }
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// The secrets that an attempt was given.
#[derive(Default)]
pub(crate) struct Revealed {
    values: Vec<(String, String)>,
}

impl std::fmt::Debug for Revealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.values.iter().map(|(name, _)| name)).finish()
    }
}

impl Revealed {
    /// One secret that did not come with an input.
    pub(crate) fn one(name: &str, value: &str) -> Self {
        Self { values: vec![(name.to_owned(), value.to_owned())] }
    }

    /// One more.
    pub(crate) fn add(&mut self, name: &str, value: &str) {
        if !self.values.iter().any(|(_, known)| known == value) {
            self.values.push((name.to_owned(), value.to_owned()));
        }
    }

    /// Hides the values wherever a problem repeats them, in their own form and as they look inside URLs and JSON.
    pub(crate) fn hide(&self, problem: &mut Problem) {
        let forms = self.forms();
        let texts = [&mut problem.title, &mut problem.kind].into_iter();
        let texts = texts.chain(problem.detail.as_mut()).chain(problem.instance.as_mut());
        texts.for_each(|text| hide(&forms, text));
        if let Some(extra) = &mut problem.extra {
            each_string(extra, &mut |text| hide(&forms, text));
        }
    }

    /// The same for a value.
    pub(crate) fn hide_in(&self, value: &mut Value) {
        let forms = self.forms();
        each_string(value, &mut |text| hide(&forms, text));
    }

    /// Each form that a value may take, and what to show instead.
    fn forms(&self) -> Vec<(String, String)> {
        let mut forms: Vec<(String, String)> = Vec::new();
        for (name, whole) in self.values.iter().filter(|(_, value)| !value.is_empty()) {
            for value in std::iter::once(whole.clone()).chain(parts(whole)) {
                let json = Value::String(value.clone()).to_string();
                for form in [in_url(&value), json[1..json.len() - 1].to_owned(), value] {
                    if !forms.iter().any(|(known, _)| *known == form) {
                        forms.push((form, format!("[secret {name}]")));
                    }
                }
            }
        }
        // The longest first: one secret may be the beginning of another.
        forms.sort_by_key(|(form, _)| std::cmp::Reverse(form.len()));
        forms
    }
}

/// Replaces a secret wherever a text repeats it, in its own form and as it looks inside URLs and JSON.
pub fn hide_secret(name: &str, value: &str, text: &mut String) {
    hide(&Revealed::one(name, value).forms(), text);
}

/// The secret parts of a secret that is a whole JSON object, as those of authentication policies are. What everybody may
/// know of a policy is left out: to hide it would only spoil texts.
fn parts(value: &str) -> Vec<String> {
    const PUBLIC: [&str; 10] = [
        "authority",
        "grant",
        "authentication",
        "encoding",
        "type",
        "username",
        "id",
        "issuers",
        "scopes",
        "audiences",
    ];
    fn collect(value: Value, found: &mut Vec<String>) {
        match value {
            Value::String(text) if text.len() >= PART_BYTES_MIN => found.push(text),
            Value::Array(items) => items.into_iter().for_each(|item| collect(item, found)),
            Value::Object(fields) => {
                let secret =
                    fields.into_iter().filter(|(key, _)| !PUBLIC.contains(&key.as_str()) && key != "endpoints");
                secret.for_each(|(_, value)| collect(value, found));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut found = Vec::new();
    if value.trim_start().starts_with('{')
        && let Ok(object) = serde_json::from_str(value)
    {
        collect(object, &mut found);
    }
    found
}

fn hide(forms: &[(String, String)], text: &mut String) {
    for (form, shown) in forms {
        if text.contains(form.as_str()) {
            *text = text.replace(form.as_str(), shown);
        }
    }
}

/// Everything but letters, digits and `-_.~` percent-encoded.
pub(crate) fn in_url(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

fn collect_names(scope: &SecretScope, text: &str, names: &mut Vec<String>) {
    for rest in text.split(scope.mark.as_str()).skip(1) {
        if let Some((name, _)) = rest.split_once(REFERENCE_END)
            && !names.iter().any(|known| known == name)
        {
            names.push(name.to_owned());
        }
    }
}

/// Every string in a value, keys left out.
fn each_string(value: &mut Value, act: &mut impl FnMut(&mut String)) {
    match value {
        Value::String(text) => act(text),
        Value::Array(items) => items.iter_mut().for_each(|item| each_string(item, act)),
        Value::Object(map) => map.values_mut().for_each(|item| each_string(item, act)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scope() -> SecretScope {
        SecretScope { mark: "\u{2063}k9:".into(), names: vec!["api-key".into(), "token".into(), "../up".into()] }
    }

    fn secrets() -> Secrets {
        Secrets::of(BTreeMap::from([
            ("STEPMILL_SECRET_API_KEY".to_owned(), "s3cr3t/plus more".to_owned()),
            ("STEPMILL_SECRET_TOKEN".to_owned(), "tok\"en".to_owned()),
        ]))
    }

    #[tokio::test]
    async fn references_become_values_and_values_are_hidden_again() {
        let s = scope();
        let mut input = json!({
            "headers": {"authorization": format!("Bearer {}", s.reference("api-key"))},
            "list": [s.reference("token"), 7, "plain"],
        });
        let revealed = secrets().fill(&s, &mut input).await.unwrap();
        assert_eq!(
            input,
            json!({"headers": {"authorization": "Bearer s3cr3t/plus more"}, "list": ["tok\"en", 7, "plain"]})
        );
        let mut problem = Problem::standard(
            Standard::Communication,
            "GET /x?k=s3cr3t%2Fplus%20more failed for s3cr3t/plus more and {\"t\":\"tok\\\"en\"}",
        );
        problem.extra = Some(json!({"body": ["tok\"en refused"]}));
        revealed.hide(&mut problem);
        let text = serde_json::to_string(&problem).unwrap();
        assert!(!text.contains("s3cr3t") && !text.contains("en refused\""), "{text}");
        assert!(text.contains("[secret api-key]") && text.contains("[secret token] refused"), "{text}");
    }

    #[test]
    fn the_parts_of_a_whole_policy_are_hidden_and_what_is_public_stays() {
        let policy =
            r#"{"grant":"password","username":"anna","password":"hunter2","client":{"id":"shop","secret":"s3cret"}}"#;
        let revealed = Revealed::one("login", policy);
        let mut value = json!(["hunter2 of anna", "s3cret for shop by password"]);
        revealed.hide_in(&mut value);
        assert_eq!(value, json!(["[secret login] of anna", "[secret login] for shop by password"]));
    }

    #[tokio::test]
    async fn what_is_missing_is_named() {
        let s = scope();
        let none = Secrets::of(BTreeMap::new());
        for (name, expected) in [
            ("api-key", "set STEPMILL_SECRET_API_KEY"),
            ("other", "`use.secrets` does not declare"),
            ("../up", "use letters, digits"),
        ] {
            let mut input = json!(s.reference(name));
            let failure = none.fill(&s, &mut input).await.err().unwrap();
            assert!(failure.to_string().contains(expected), "{failure}");
            assert!(!failure.is_retryable() && failure.problem().is(Standard::Configuration));
        }
    }

    #[tokio::test]
    async fn a_folder_holds_one_file_per_secret() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "from-file\n").unwrap();
        let secrets = Secrets { folder: Some(folder.path().into()), ..Secrets::of(BTreeMap::new()) };
        let mut input = json!([scope().reference("token")]);
        secrets.fill(&scope(), &mut input).await.unwrap();
        assert_eq!(input, json!(["from-file"]));
        let failure = secrets.fill(&scope(), &mut json!(scope().reference("api-key"))).await.err().unwrap();
        assert!(failure.to_string().contains("or put it into"), "{failure}");
    }
}
