//! Values of an evaluation to and from JSON: exact integers, keys in their order, every node counted (a value may share
//! its parts and be much larger written out than in memory).

use std::rc::Rc;

use serde_json::{Number, Value};

use super::meter::{self, DEPTH_MAX, Stop, spend, spend_bulk, stop};
use super::number::Num;
use super::value::{Map, Val};

/// Bytes of a value written as text inside an evaluation.
const TEXT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of a value shown in a message.
const SHORT_BYTES: usize = 120;

/// Takes a value in.
pub(super) fn read(value: &Value) -> Val {
    read_at(value, 0)
}

fn read_at(value: &Value, depth: u16) -> Val {
    spend(1);
    if depth > DEPTH_MAX {
        stop(Stop::Depth);
    }
    match value {
        Value::Null => Val::Null,
        Value::Bool(b) => Val::Bool(*b),
        Value::Number(n) => Val::Num(read_number(n)),
        Value::String(s) => Val::text(s.as_str()),
        Value::Array(items) => Val::arr(items.iter().map(|v| read_at(v, depth + 1)).collect()),
        Value::Object(map) => {
            let entries = map.iter().map(|(k, v)| (Rc::from(k.as_str()), read_at(v, depth + 1)));
            Val::obj(entries.collect::<Map>())
        }
    }
}

fn read_number(n: &Number) -> Num {
    if let Some(i) = n.as_i64() {
        return Num::Int(i.into());
    }
    match n.as_u64() {
        Some(i) => Num::Int(i.into()),
        None => Num::Float(n.as_f64().unwrap_or(f64::NAN)),
    }
}

/// Gives a value out.
pub(super) fn give(val: &Val) -> Value {
    spend(1);
    let bytes = match val {
        Val::Null | Val::Bool(_) | Val::Num(_) | Val::Arr(_) => 1,
        Val::Str(s) => s.text.len() + 1,
        Val::Obj(o) => o.map.keys().map(|k| k.len() + 1).sum::<usize>() + 1,
    };
    if let Err(why) = meter::give(bytes) {
        stop(why);
    }
    match val {
        Val::Null => Value::Null,
        Val::Bool(b) => Value::Bool(*b),
        Val::Num(n) => give_number(*n),
        Val::Str(s) => Value::String(s.text.clone()),
        Val::Arr(a) => Value::Array(a.items.iter().map(give).collect()),
        Val::Obj(o) => Value::Object(o.map.iter().map(|(k, v)| (k.to_string(), give(v))).collect()),
    }
}

/// As jq does: NaN is null, infinity the largest number.
fn give_number(n: Num) -> Value {
    match n {
        Num::Int(i) => i64::try_from(i)
            .map(Number::from)
            .or_else(|_| u64::try_from(i).map(Number::from))
            .map_or_else(|_| give_number(Num::Float(i as f64)), Value::Number),
        Num::Float(f) => Number::from_f64(f.clamp(f64::MIN, f64::MAX)).map_or(Value::Null, Value::Number),
    }
}

/// The value as compact JSON text.
pub(super) fn write(val: &Val) -> String {
    let mut out = String::new();
    write_to(val, &mut out, TEXT_BYTES_MAX, &|| stop(Stop::Memory));
    out
}

/// The beginning of that text.
pub(super) fn write_short(val: &Val) -> String {
    let mut out = String::new();
    write_to(val, &mut out, SHORT_BYTES, &|| ());
    if out.len() > SHORT_BYTES {
        let cut = (0..=SHORT_BYTES).rev().find(|i| out.is_char_boundary(*i)).unwrap_or(0);
        out.truncate(cut);
        out.push('…');
    }
    out
}

/// Writes until `max` bytes are exceeded; then calls `full` and returns.
fn write_to(val: &Val, out: &mut String, max: usize, full: &dyn Fn()) {
    spend(1);
    if out.len() > max {
        return full();
    }
    match val {
        Val::Null => out.push_str("null"),
        Val::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Val::Num(n) => out.push_str(&give_number(*n).to_string()),
        Val::Str(s) => write_text(&s.text, out),
        Val::Arr(a) => {
            out.push('[');
            for (i, v) in a.items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_to(v, out, max, full);
                if out.len() > max {
                    return full();
                }
            }
            out.push(']');
        }
        Val::Obj(o) => {
            out.push('{');
            for (i, (k, v)) in o.map.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_text(k, out);
                out.push(':');
                write_to(v, out, max, full);
                if out.len() > max {
                    return full();
                }
            }
            out.push('}');
        }
    }
}

fn write_text(text: &str, out: &mut String) {
    spend_bulk(text.len());
    out.push_str(&Value::from(text).to_string());
}
