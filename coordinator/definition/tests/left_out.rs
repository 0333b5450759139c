//! What the standard has and Stepmill leaves out: refused by name, with what to use instead.
#![allow(clippy::expect_used, clippy::panic, reason = "a test may fail")]

use stepmill_definition::compile;

const HEAD: &str = "document: { dsl: '1.0.3', namespace: shop, name: orders, version: '1.0.0' }\n";

/// The only mistake of a document with this task, and its help.
fn refusal(rest: &str) -> (String, String) {
    let mistakes = compile(&format!("{HEAD}{rest}")).expect_err(rest);
    let [one] = mistakes.list() else { panic!("{mistakes}") };
    assert_eq!((one.code, one.span.is_some()), ("unsupported", true));
    (one.message.clone(), one.help.clone())
}

#[test]
fn each_is_named_with_what_to_use_instead() {
    let task = |body: &str| format!("do: [ {{ step: {body} }} ]\n");
    let grpc = "{ call: grpc, with: { proto: { endpoint: 'file://a' }, service: { name: s, host: h }, method: m } }";
    let asyncapi = "{ call: asyncapi, with: { document: { endpoint: 'https://h' }, operation: o, message: {} } }";
    for (rest, feature, instead) in [
        (task(grpc), "`call: grpc`", "`call: openapi`"),
        (task(asyncapi), "`call: asyncapi`", "`emit` and `listen`"),
        (task("{ call: a2a, with: { method: message/send } }"), "`call: a2a`", "`call: http`"),
        (task("{ run: { container: { image: i } } }"), "`run: container`", "`run: shell`"),
        (task("{ call: 'log:1.0.0@main', with: {} }"), "functions of catalogs", "`use.functions`"),
        (task("{ call: 'https://h/f.yaml' }"), "functions of catalogs", "`use.functions`"),
        ("use: { catalogs: { c: { endpoint: 'https://h' } } }\ndo: []\n".into(), "`use.catalogs`", "`use.functions`"),
    ] {
        let (message, help) = refusal(&rest);
        assert_eq!(message, format!("not supported: {feature}"));
        assert!(help.contains(instead), "{feature}: {help}");
    }
}
