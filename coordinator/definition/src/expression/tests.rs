//! What expressions give, and what stops them.

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
    let input = json!({"a": {"b": [10, 20, 30]}, "name": "Ä ö", "big": 9_007_199_254_740_993_i64, "huge": u64::MAX, "f": 3.0});
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
        "null | def f: (.a | f) |= 1; f",
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
