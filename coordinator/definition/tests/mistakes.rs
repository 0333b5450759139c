//! What the author of a broken definition sees. `INSTA_UPDATE=always` writes the answers anew; read the difference.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test may fail"
)]

use miette::{GraphicalReportHandler, GraphicalTheme};
use stepmill_definition::compile;

const HEAD: &str = "document:\n  dsl: '1.0.3'\n  namespace: shop\n  name: orders\n  version: '1.0.0'\n";

fn shown(source: &str) -> String {
    let mistakes = compile(source).expect_err(source).with_name("orders.yaml");
    let mut out = String::new();
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(100);
    handler.render_report(&mut out, &mistakes.shown()).unwrap();
    out
}

#[test]
fn five_mistakes_are_shown_at_once() {
    let source = format!(
        "{HEAD}do:
  - fetch:
      call: http
      with:
        method: get
        endpiont: https://example.com/orders
  - choose:
      switch:
        - paid:
            when: .status == \"paid\"
            then: shipp
  - wait:
      wait: 30 seconds
  - total:
      set:
        sum: ${{ .items | map(.price | ad }}
        user: ${{ $usr.name }}
  - ship:
      call: grpc
      with: {{ method: ship }}
"
    );
    let mistakes = compile(&source).unwrap_err();
    let codes: std::collections::BTreeSet<&str> = mistakes.list().iter().map(|m| m.code).collect();
    assert!(codes.len() >= 5, "{codes:?}");
    insta::assert_snapshot!("five_mistakes", shown(&source));
    insta::assert_snapshot!("five_mistakes_plain", mistakes.to_string());
    insta::assert_snapshot!("five_mistakes_json", serde_json::to_string_pretty(&mistakes).unwrap());
}

#[test]
fn twenty_kinds_of_broken_input() {
    let task = |body: &str| format!("{HEAD}do:\n  - step: {body}\n");
    let cases = [
        ("01_empty_file", String::new()),
        ("02_not_yaml", "document: [1, 2\ndo: }".into()),
        ("03_not_an_object", "- just\n- a list\n".into()),
        ("04_no_document", "do:\n  - a: { set: { x: 1 } }\n".into()),
        ("05_bad_version", HEAD.replace("version: '1.0.0'", "version: '1.0'") + "do: []\n"),
        ("06_bad_name", HEAD.replace("name: orders", "name: my orders") + "do: []\n"),
        ("07_duplicate_key", task("{ set: { x: 1 }, set: { x: 2 } }")),
        ("08_unknown_key", task("{ set: { x: 1 }, thn: end }")),
        ("09_no_kind", task("{ then: end }")),
        ("10_two_kinds", task("{ set: { x: 1 }, wait: PT1S }")),
        (
            "11_two_tasks_in_one_item",
            format!("{HEAD}do:\n  - a: {{ set: {{ x: 1 }} }}\n    b: {{ set: {{ x: 2 }} }}\n"),
        ),
        ("12_duplicate_task", format!("{HEAD}do:\n  - a: {{ set: {{ x: 1 }} }}\n  - a: {{ set: {{ x: 2 }} }}\n")),
        ("13_unknown_then", task("{ set: { x: 1 }, then: stpe }")),
        ("14_bad_expression", task("{ set: { x: '${ .a + }' } }")),
        ("15_unknown_function", task("{ if: lenght > 2, set: { x: 1 } }")),
        ("16_forbidden_function", task("{ set: { at: '${ now }' } }")),
        ("17_unknown_variable", task("{ set: { x: '${ $contxt.a }' } }")),
        ("18_bad_duration", task("{ wait: { minuts: 5 } }")),
        ("19_month", task("{ wait: P1M }")),
        ("20_unsupported", task("{ run: { container: { image: ls } } }")),
        (
            "21_unknown_retry",
            task("{ try: [], catch: { retry: defualt } }")
                + "use:\n  retries:\n    default: { limit: { attempt: { count: 2 } } }\n",
        ),
        (
            "22_undeclared_secret",
            task("{ call: http, with: { method: get, endpoint: 'https://h', headers: { A: '${ $secrets.key }' } } }"),
        ),
        (
            "23_authentication_kind",
            task(
                "{ call: http, with: { method: get, endpoint: { uri: 'https://h', authentication: { oauth2: { authority: 'https://a', grant: password } } } } }",
            ),
        ),
        ("24_bad_schema", task("{ set: { x: 1 }, input: { schema: { document: { type: strin } } } }")),
        ("25_bad_concurrency", task("{ for: { in: .xs }, do: [], metadata: { concurrency: 0 } }")),
        (
            "26_recursive_function",
            task("{ call: f }") + "use:\n  functions:\n    f: { do: [ { again: { call: f } } ] }\n",
        ),
        ("27_number_too_large", task("{ set: { x: 123456789012345678901234567890 } }")),
        ("28_bad_uri", task("{ call: http, with: { method: get, endpoint: 'https://h/{id' } }")),
        ("29_retry_count", task("{ try: [], catch: { retry: { limit: { attempt: { count: 0 } } } } }")),
        ("30_switch_without_cases", task("{ switch: [] }")),
        (
            "31_two_transports",
            task(
                "{ call: mcp, with: { method: tools/list, transport: { http: { endpoint: 'https://h' }, stdio: { command: c } } } }",
            ),
        ),
        ("32_script_language", task("{ run: { script: { language: ruby, code: puts 1 } } }")),
        (
            "33_secret_policy",
            task(
                "{ call: http, with: { method: get, endpoint: { uri: 'https://h', authentication: { digest: { use: all } } } } }",
            ),
        ),
    ];
    for (name, source) in cases {
        insta::assert_snapshot!(name, shown(&source));
    }
}

#[test]
fn only_kinds_that_can_be_used_are_offered() {
    let mistakes = |body: &str| compile(&format!("{HEAD}do:\n  - step: {body}\n")).unwrap_err();
    let offered = mistakes("{ then: end }").list()[0].help.clone();
    let bodies = [
        ("emit", "{ event: { with: { source: 'https://e.com', type: t } } }"),
        ("listen", "{ to: { one: { with: { type: t } } } }"),
        ("run", "{ shell: { command: ls } }"),
    ];
    // the others: no kind is right with a number, but only those that cannot be used are called unsupported
    let others = ["call", "do", "for", "fork", "raise", "set", "switch", "try", "wait"].map(|kind| (kind, "1"));
    for (kind, body) in bodies.into_iter().chain(others) {
        let source = format!("{HEAD}do:\n  - step: {{ {kind}: {body} }}\n");
        let refused = compile(&source).is_err_and(|m| m.list().iter().any(|m| m.code == "unsupported"));
        let is_offered = offered.split([' ', ',']).any(|word| word == kind);
        assert_eq!(is_offered, !refused, "`{kind}`: offered are: {offered}");
    }
    // nor are keys of the top level
    let help = compile(&format!("{HEAD}do: []\nsomething: 1\n")).unwrap_err().list()[0].help.clone();
    for key in help.rsplit(": ").next().unwrap().split(", ") {
        let source = format!("{HEAD}{key}: 1\n");
        let refused = compile(&source).unwrap_err().list().iter().any(|m| m.code == "unsupported");
        assert!(!refused, "`{key}` is offered and refused");
    }
}

mod any_text {
    use proptest::prelude::*;

    use super::{compile, shown};

    const WHOLE: &str = include_str!("whole.yaml");

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Whatever is written into a definition, its author gets a plan or an answer that can be shown.
        #[test]
        fn gets_an_answer(at in 0..WHOLE.len(), cut in 0_usize..12, put in "(\\PC|[\\[\\]{}:,&*!|>'\"%@`#\\-?$().\\n\\t äß€]){0,8}") {
            let chars: Vec<char> = WHOLE.chars().collect();
            let at = at.min(chars.len());
            let end = (at + cut).min(chars.len());
            let text: String = chars[..at].iter().copied().chain(put.chars()).chain(chars[end..].iter().copied()).collect();
            if compile(&text).is_err() {
                prop_assert!(!shown(&text).is_empty());
            }
            if compile(&put).is_err() {
                prop_assert!(!shown(&put).is_empty());
            }
        }
    }
}
