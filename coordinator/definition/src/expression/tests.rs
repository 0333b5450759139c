//! What expressions give, and what stops them.

#![allow(clippy::disallowed_methods, reason = "the test measures how long a limit takes")]

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use super::{Expression, ExpressionError, Variables};

const KNOWN: &[&str] = &["context", "input", "item"];

fn variables() -> Variables {
    let var = |name: &str, v: Value| (Arc::from(name), Arc::new(v));
    Variables(vec![var("context", json!({"x": [1, 2, {"y": "z"}]})), var("input", json!({"n": 5}))])
}

fn eval(text: &str, input: &Value) -> Result<Value, ExpressionError> {
    Expression::compile(text, KNOWN).unwrap_or_else(|m| panic!("{text}: {m:?}")).evaluate(input, &variables())
}

#[test]
fn ordinary_expressions_give_what_jq_gives() {
    let input =
        json!({"a": {"b": [10, 20, 30]}, "name": "Ä ö", "big": 9_007_199_254_740_993_i64, "huge": u64::MAX, "f": 3.0});
    for (text, expected) in [
        (".", input.clone()),
        (".a.b[1]", json!(20)),
        (".a.b[-1]", json!(30)),
        (".nothing.there[0]", json!(null)),
        (".big", json!(9_007_199_254_740_993_i64)),
        (".big + 1", json!(9_007_199_254_740_994_i64)),
        (".huge | [.][0]", json!(u64::MAX)),
        (".f | [.][0]", json!(3.0)),
        ("6 / 2", json!(3)),
        ("7 / 2", json!(3.5)),
        ("$context.x[2].y", json!("z")),
        ("$item", json!(null)),
        ("$input.n + 1", json!(6)),
        ("[.a.b[] | select(. > 10)] | length", json!(2)),
        (".a.b | map(. * 2) | add", json!(120)),
        ("{name, n: ($input.n)}", json!({"name": "Ä ö", "n": 5})),
        ("\"x-\\(.a.b[0])\"", json!("x-10")),
        (".name | length", json!(3)),
        (".a.b | . + [40] | .[1:3]", json!([20, 30])),
        (".a.b[1] = 5 | .a.b", json!([10, 5, 30])),
        ("del(.a) | keys", json!(["big", "f", "huge", "name"])),
        ("to_entries | map(.key)", json!(["a", "name", "big", "huge", "f"])),
        ("[paths] | length", json!(9)),
        ("\"a,b\" | split(\",\")", json!(["a", "b"])),
        ("\"2024-01-02T03:04:05Z\" | fromdateiso8601 | todate", json!("2024-01-02T03:04:05Z")),
        ("\"abc\" | test(\"B\"; \"i\")", json!(true)),
        ("\"foo bar\" | gsub(\"o\"; \"0\")", json!("f00 bar")),
        ("[3, 1, 2] | sort", json!([1, 2, 3])),
        ("[[1, [2]], 3] | flatten", json!([1, 2, 3])),
        ("[[1, [2]], 3] | flatten(1)", json!([1, [2], 3])),
        ("[range(5)] | until(length < 3; .[1:])", json!([3, 4])),
        ("def double: . * 2; 4 | double", json!(8)),
        ("def f($n): if $n <= 1 then 1 else $n * f($n - 1) end; f(20)", json!(2_432_902_008_176_640_000_i64)),
        ("reduce range(10) as $i (0; . + $i)", json!(45)),
        ("first(range(10; 0; -3))", json!(10)),
        ("\"12\" | tonumber", json!(12)),
        ("[1, 2] | tojson | fromjson", json!([1, 2])),
        ("try error(\"x\") catch .", json!("x")),
        (".a.b as [$p, $q] | $p + $q", json!(30)),
        ("{} | .a.b.c = 1", json!({"a": {"b": {"c": 1}}})),
        ("null | .[2] = 1", json!([null, null, 1])),
        ("[nan] | sort | .[0] | isnan", json!(true)),
        ("[1, 1.0, 2] | unique", json!([1, 2])),
        ("@base64 \"\\(.a.b[0])\"", json!("MTA=")),
        ("{a: 1} * {b: {c: 2}}", json!({"a": 1, "b": {"c": 2}})),
        ("[limit(3; repeat(1))]", json!([1, 1, 1])),
        ("[.a.b[] | . as $x | $x % 7]", json!([3, 6, 2])),
        (".a.b | contains([20])", json!(true)),
        ("\"abcabc\" | indices(\"bc\")", json!([1, 4])),
        ("walk(if type == \"number\" then 0 else . end) | .a.b", json!([0, 0, 0])),
        ("1, 2", json!(1)),
        (".name // \"none\"", json!("Ä ö")),
        (".no // \"none\"", json!("none")),
    ] {
        assert_eq!(eval(text, &input), Ok(expected), "{text}");
    }
}

#[test]
fn a_blow_up_ends_with_a_limit() {
    for text in [
        "def f: f; f",
        "def f: 1 + f; f",
        "def f(g): g | f(g + 1); f(1)",
        "[range(1e9)]",
        "last(range(1e12))",
        "last(range(0; 1; 0))",
        "[recurse(.)]",
        "[repeat(.)]",
        "until(false; .)",
        "[limit(1e9; repeat(1))]",
        "\"x\" * 1e9",
        "\"x\" * 1e30",
        "[range(1000) | \"x\" * 1000000]",
        "reduce range(100) as $i (\"x\"; . + .)",
        "reduce range(100) as $i ([1]; . + .)",
        "reduce range(1000000) as $i (null; [.])",
        "reduce range(1000000) as $i (null; {a: .})",
        "reduce range(40) as $i (\"x\"; [., .])",
        "reduce range(40) as $i (\"x\"; [., .]) | tojson",
        "reduce range(40) as $i (\"x\"; [., .]) | [..] | length",
        "(reduce range(40) as $i (1; [., .])) == (reduce range(40) as $i (1; [., .]))",
        "[range(100000)] | [.[] as $a | .[] as $b | $a + $b] | length",
        "[range(1000)] | last(.[] + .[] + .[] + .[])",
        "def a: ., .; def b: a | a | a | a; def c: b | b | b | b; last(c | c | c | c)",
        "null | .[1e9] = 1",
        "null | .[100000000000] = 1",
        "[range(300)] | [combinations(10)] | length",
        "\"a\" * 100000 | test(\"(a{100}){100}{100}b\")",
        "\"a\" * 1000000 | [range(1000) as $i | test(\"(a|b)*c\")]",
        "reduce range(10000000) as $i (3; . * .)",
        "last(repeat(try error(.) catch .))",
        "last(repeat(try error catch .))",
        "[.. |= [., .]] | last(repeat(.))",
        "def f: try f; f",
        "def f: [f]; f",
        "null | def f: .a | f; f |= 1",
        "null | path(def f: .a | f; f)",
        "label $out | last(repeat(1))",
        "[range(200000)] | sort_by(-.) | group_by(. % 1000) | map(tojson) | join(\"\") * 100",
    ] {
        let begin = Instant::now();
        let got = Expression::compile(text, KNOWN).map(|e| e.evaluate(&json!([1, [2, [3]]]), &variables()));
        let Ok(Err(ExpressionError::Limit { .. })) = got else {
            panic!("{text}: {:?} after {:?}", got.map(|g| g.map(|v| v.to_string().len())), begin.elapsed());
        };
        println!("{:>8.1?} {text}", begin.elapsed());
    }
}

/// What alone is in order, and together would take minutes or all of the memory there is.
#[test]
fn many_expressions_share_their_limits() {
    use super::budget;
    use crate::plan::Template;
    let many = |text: &str, n: usize| {
        let one = |_| Template::Expr(Expression::compile(text, KNOWN).unwrap());
        Template::Array((0..n).map(one).collect())
    };
    let none = Variables::default();
    let ended = |got: Result<_, ExpressionError>| matches!(got, Err(ExpressionError::Limit { .. }));
    let counts = "[range(100000)] | length";
    assert_eq!(many(counts, 3).evaluate(&json!(1), &none).unwrap(), Arc::new(json!([100_000, 100_000, 100_000])));
    assert!(ended(many(counts, 1_000).evaluate(&json!(1), &none)), "work");
    assert!(ended(many(".", 1_000).evaluate(&json!("x".repeat(100_000)), &none)), "copies");
    let (expression, slow) =
        (Expression::compile(counts, KNOWN).unwrap(), Expression::compile("last(repeat(1))", KNOWN).unwrap());
    let (failures, spent) =
        budget::step(|| (0..1_000).filter(|_| expression.evaluate(&json!(1), &none).is_err()).count());
    assert!(failures > 800 && spent < 500_000_000, "{failures} of 1000 failed, {spent} units were spent");
    let (left, _) = budget::step(|| {
        assert!(slow.evaluate(&json!(1), &none).is_err());
        let left = [expression.evaluate(&json!(1), &none).is_err(), eval(".n + 1", &json!({"n": 1})).is_err()];
        assert!(budget::apart(|| expression.evaluate(&json!(1), &none)).is_ok());
        left
    });
    assert_eq!(left, [true, false], "a step that has used up its work may still look at its error");
    assert!(expression.evaluate(&json!(1), &none).is_ok(), "the next one begins anew");
    assert!(budget::filter(|| slow.evaluate(&json!(1), &none)).unwrap_err().to_string().contains("event filter"));
}

/// Texts that go `n` levels deep in one way each.
fn deep(n: usize) -> Vec<String> {
    let around = |open: &str, inner: &str, close: &str| format!("{}{inner}{}", open.repeat(n), close.repeat(n));
    vec![
        around("(", "1", ")"),
        around("[", "1", "]"),
        around("{a: ", "1", "}"),
        around("-", "1", ""),
        around("1 + ", "1", ""),
        around("1, ", "1", ""),
        around("1 | ", "1", ""),
        around(". as $x | ", "1", ""),
        around("try ", "1", ""),
        around("if . then ", "1", " else 1 end"),
        around("\"\\(", "1", ")\""),
        around("def f: ", "1", "; f"),
        around("def f: 1; ", "1", ""),
        around("label $x | ", "1", ""),
        around("reduce 1 as $x (1; ", "1", ")"),
        around("first(", "1", ")"),
        around("map(", "1", ")"),
        around("walk(", "1", ")"),
        around("[.[] | ", "1", "]"),
        format!(".{}", "[0]".repeat(n)),
        format!(".{}", ".a".repeat(n).trim_start_matches('.')),
        format!(". as {}$x{} | 1", "[".repeat(n), "]".repeat(n)),
        format!(".{}", "?".repeat(n)),
        format!(". {}", "// 1 ".repeat(n)),
        format!(". {}", "and true ".repeat(n)),
        format!(".a {}", "|= (. ".repeat(n) + &")".repeat(n)),
    ]
}

#[test]
fn no_nesting_overflows_the_stack() {
    let run = || {
        let inputs = [json!(null), json!([[[[1]]]]), (0..120).fold(json!(1), |v, _| json!([v]))];
        for n in [1, 10, 20, 30, 40, 49, 60, 75, 90, 99, 250, 5_000, 30_000] {
            for text in deep(n) {
                match Expression::compile(&text, KNOWN) {
                    Ok(expression) => {
                        for input in &inputs {
                            drop(expression.evaluate(input, &variables()));
                        }
                    }
                    Err(mistake) => {
                        assert!(n > 10 || mistake.code != "expression-limit", "{n}: {}", &text[..40.min(text.len())]);
                    }
                }
                assert!(n < 250 || Expression::compile(&text, KNOWN).is_err(), "{n}: {}", &text[..40]);
            }
        }
    };
    // as large as the threads of a runtime are; an overflow would end the process
    std::thread::Builder::new().stack_size(1536 * 1024).spawn(run).unwrap().join().unwrap();
}

#[test]
fn what_is_not_known_or_not_allowed_is_named_with_its_place() {
    let mut wrong = Vec::new();
    for (text, code, span, said) in [
        ("$contxt.x", "expression-unknown", (0, 7), "did you mean `$context`"),
        ("1 + $nope", "expression-unknown", (4, 5), "known here"),
        (".a | lenght", "expression-unknown", (5, 6), "did you mean `length`"),
        ("now", "expression-forbidden", (0, 3), "clock"),
        ("[.a, env]", "expression-forbidden", (5, 3), "environment"),
        ("input", "expression-forbidden", (0, 5), "one input"),
        ("localtime", "expression-forbidden", (0, 9), "gmtime"),
        ("__deep(1; .)", "expression-unknown", (0, 6), ""),
        ("def __deep(a; b): 1; 1", "expression-forbidden", (0, 0), "reserved"),
        (".a[", "expression-syntax", (3, 0), ""),
        (".a +", "expression-syntax", (4, 0), ""),
        ("", "expression-syntax", (0, 0), ""),
        ("import \"x\" as x; .", "expression-syntax", (7, 3), ""),
        ("$ENV.HOME", "expression-unknown", (0, 4), ""),
    ] {
        let mistake = Expression::compile(text, KNOWN).expect_err(text);
        if (mistake.code, mistake.span) != (code, span) || !mistake.help.contains(said) {
            wrong.push(format!("{text}: {mistake:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn conditions_hold_as_in_jq() {
    let vars = variables();
    let holds = |text: &str, input: Value| Expression::compile(text, KNOWN).unwrap().holds(&input, &vars);
    assert_eq!(holds(".a", json!({"a": 0})), Ok(true));
    assert_eq!(holds(".a", json!({"a": null})), Ok(false));
    assert_eq!(holds(".a == 1", json!({"a": 1.0})), Ok(true));
    assert_eq!(holds("empty", json!(1)), Ok(false));
    assert!(holds(".a", json!([])).is_err());
    let empty = Expression::compile("empty", KNOWN).unwrap().evaluate(&json!(1), &vars);
    assert!(matches!(empty, Err(ExpressionError::Empty { .. })));
}

#[test]
fn places_in_a_uri_are_filled_and_encoded() {
    let fill = |template: &str, input: Value| {
        Expression::uri_template(template).unwrap().unwrap().evaluate(&input, &Variables::default())
    };
    let input = json!({"id": "a/b ä", "n": 7, "deep": {"x": true}});
    assert_eq!(fill("https://h/{id}?n={n}", input.clone()), Ok(json!("https://h/a%2Fb%20%C3%A4?n=7")));
    assert_eq!(fill("{deep.x}/z", input.clone()), Ok(json!("true/z")));
    for dots in [".", ".."] {
        let input = json!({ "id": dots });
        assert!(
            fill("https://h/pets/{id}", input.clone()).unwrap_err().to_string().contains("another place"),
            "{dots}"
        );
        assert_eq!(fill("https://h/pets?up={id}", input), Ok(json!(format!("https://h/pets?up={dots}"))));
    }
    assert_eq!(fill("https://h/{id}", json!({"id": "..."})), Ok(json!("https://h/...")));
    assert!(fill("https://h/{no}", input).unwrap_err().to_string().contains("\"no\""));
    assert!(Expression::uri_template("https://h/x").unwrap().is_none());
    for bad in ["https://h/{", "https://h/}", "https://h/{a b}", "https://h/{}", "https://h/{+a}", "https://h/{?q}"] {
        assert!(Expression::uri_template(bad).is_err(), "{bad}");
    }
}

mod fast_way {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::{Expression, KNOWN, Variables};

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1e6..1e6).prop_map(|f: f64| Value::from(f.trunc())),
            any::<f64>().prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("[abc]", inner), 0..4)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    fn path() -> impl Strategy<Value = String> {
        let step = prop_oneof![
            "[abc]".prop_map(|k| format!(".{k}")),
            "[abc]".prop_map(|k| format!(".[\"{k}\"]")),
            (-3_i64..4).prop_map(|i| format!(".[{i}]")),
        ];
        let root = prop_oneof![Just("."), Just("$input"), Just("$context"), Just("$item")];
        (root, prop::collection::vec(step, 0..4), any::<bool>()).prop_map(|(root, steps, piped)| {
            let rest = steps.concat();
            match (root, piped) {
                (".", false) if rest.is_empty() => ".".into(),
                (".", false) => rest,
                (root, false) => format!("{root}{rest}"),
                (root, true) => format!("{root} | .{rest}").replace("..", "."),
            }
        })
    }

    proptest! {
        #[test]
        fn gives_what_the_interpreter_gives(text in path(), input in json(), other in json()) {
            let vars = Variables(vec![("input".into(), other.clone().into()), ("context".into(), input.clone().into())]);
            let plain = Expression::compile(&text, KNOWN).unwrap();
            prop_assert!(plain.is_plain(), "{text} takes the slow way");
            let slow = Expression::interpreted(&text, KNOWN).unwrap();
            let (fast, slow) = (plain.evaluate(&input, &vars), slow.evaluate(&input, &vars));
            match (fast, slow) {
                (Ok(fast), Ok(slow)) => prop_assert_eq!(fast.to_string(), slow.to_string(), "{}", text),
                (fast, slow) => prop_assert!(fast.is_err() && slow.is_err(), "{text}: {fast:?} {slow:?}"),
            }
        }

        #[test]
        fn values_survive_the_interpreter(value in json()) {
            let identity = Expression::compile("[.] | .[0]", KNOWN).unwrap();
            let got = identity.evaluate(&value, &Variables::default()).unwrap();
            prop_assert_eq!(got.to_string(), value.to_string());
        }
    }
}
