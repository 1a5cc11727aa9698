//! Our own nftables table, read back and compared rule by rule.
//!
//! `nft -j` is the kernel's word; nothing in the table (a comment, a name) is taken for more than
//! it is. The comparison is by meaning in one canonical form, since versions of `nft` differ in how
//! they write the same rule. Anything else in the table, however harmless it looks, is a breach.

use serde_json::Value;

use super::output;
use crate::sandbox::{layout::Layout, runtime::Breach};

/// Before the filter chains of Docker (0) and of most firewalls. A drop here is final.
const PRIORITY: i32 = -10;

pub async fn check(layout: &Layout) -> Result<(), Breach> {
    let table = layout.table();
    let listing = output("nft", &["-j", "list", "table", "inet", &table])
        .await
        .map_err(|error| format!("table inet {table} cannot be read: {error:#}"))?;
    let listing: Value = serde_json::from_slice(&listing)
        .map_err(|error| format!("table inet {table} cannot be read: {error}"))?;
    let (found, expected) = (canonical(&listing), expected(layout));
    if found == expected {
        return Ok(());
    }
    let missing = expected.iter().find(|line| !found.contains(line));
    let extra = found.iter().find(|line| !expected.contains(line));
    Err(match (missing, extra) {
        (Some(line), _) => format!("table inet {table} lacks `{line}`"),
        (_, Some(line)) => format!("table inet {table} has `{line}`"),
        _ => format!("table inet {table} has its rules in another order"),
    })
}

/// What `infra/firewall/walls.sh` writes.
fn expected(layout: &Layout) -> Vec<String> {
    let bridge = layout.bridge();
    let (address, port) = (layout.bridge_address(), layout.broker_port);
    vec![
        format!("table inet {}", layout.table()),
        format!("chain input filter input {PRIORITY} accept"),
        format!("chain forward filter forward {PRIORITY} accept"),
        format!("input: iifname={bridge} nfproto=ipv6 drop"),
        format!("input: iifname={bridge} state=established,related accept"),
        format!("input: iifname={bridge} ip.daddr={address} tcp.dport={port} accept"),
        format!("input: iifname={bridge} drop"),
        format!("forward: iifname={bridge} drop"),
        format!("forward: oifname={bridge} drop"),
    ]
}

/// One line for the table, each chain and each rule, in the kernel's order.
fn canonical(listing: &Value) -> Vec<String> {
    let items = listing["nftables"].as_array();
    let items = items.into_iter().flatten();
    items.filter_map(line).collect()
}

fn line(item: &Value) -> Option<String> {
    let (kind, body) = item.as_object()?.iter().next()?;
    let text = |field: &str| body[field].as_str().unwrap_or("?");
    match kind.as_str() {
        "metainfo" => None,
        // A table with a flag may be asleep ("dormant").
        "table" if body.get("flags").is_none() => {
            Some(format!("table {} {}", text("family"), text("name")))
        }
        "chain" => Some(format!(
            "chain {} {} {} {} {}",
            text("name"),
            text("type"),
            text("hook"),
            body["prio"],
            text("policy")
        )),
        "rule" => {
            let parts = body["expr"].as_array()?.iter().map(part);
            Some(format!(
                "{}: {}",
                text("chain"),
                parts.collect::<Vec<_>>().join(" ")
            ))
        }
        _ => Some(item.to_string()),
    }
}

fn part(expression: &Value) -> String {
    let field = match expression
        .as_object()
        .and_then(|fields| fields.iter().next())
    {
        Some((verdict, Value::Null)) => return verdict.clone(),
        Some((kind, field)) if kind == "match" => field,
        _ => return expression.to_string(),
    };
    let (op, left, right) = (&field["op"], &field["left"], &field["right"]);
    let left = match (&left["meta"]["key"], &left["ct"]["key"], &left["payload"]) {
        (Value::String(key), ..) | (_, Value::String(key), _) => key.clone(),
        (_, _, Value::Object(payload)) => match (&payload["protocol"], &payload["field"]) {
            (Value::String(protocol), Value::String(field)) => format!("{protocol}.{field}"),
            _ => return expression.to_string(),
        },
        _ => return expression.to_string(),
    };
    if op != "==" && op != "in" {
        return expression.to_string();
    }
    match right {
        Value::String(text) => format!("{left}={text}"),
        Value::Number(number) => format!("{left}={number}"),
        Value::Array(items) => {
            let mut words: Vec<_> = items.iter().filter_map(Value::as_str).collect();
            words.sort_unstable();
            format!("{left}={}", words.join(","))
        }
        _ => expression.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn layout() -> Layout {
        Layout::new("clawkaka", Ipv4Addr::new(10, 77, 0, 0), 200_000, 3005)
    }

    /// As nft 1.0.6 prints what walls.sh wrote.
    fn recorded() -> Value {
        serde_json::from_str(include_str!("recorded-rules.json")).unwrap()
    }

    #[test]
    fn what_walls_sh_writes_is_what_we_expect() {
        assert_eq!(canonical(&recorded()), expected(&layout()));
    }

    #[test]
    fn any_change_of_any_value_is_seen() {
        let text = recorded().to_string();
        for (from, to) in [
            ("\"drop\"", "\"accept\""),
            ("\"==\"", "\"!=\""),
            ("3005", "3006"),
            ("10.77.0.1", "10.77.0.2"),
            ("\"related\"", "\"new\""),
            ("\"prio\":-10", "\"prio\":10"),
            (
                "\"name\":\"clawkaka_clawkaka\"",
                "\"name\":\"clawkaka_clawkaka\",\"flags\":[\"dormant\"]",
            ),
        ] {
            assert!(text.contains(from), "{from}");
            let changed = serde_json::from_str(&text.replacen(from, to, 1)).unwrap();
            assert_ne!(canonical(&changed), expected(&layout()), "{from} -> {to}");
        }
    }

    #[test]
    fn a_missing_or_an_added_rule_is_seen() {
        let whole = recorded();
        for index in 1..whole["nftables"].as_array().unwrap().len() {
            let mut less = whole.clone();
            less["nftables"].as_array_mut().unwrap().remove(index);
            assert_ne!(canonical(&less), expected(&layout()), "without {index}");
            let mut more = whole.clone();
            let items = more["nftables"].as_array_mut().unwrap();
            items.push(items[index].clone());
            assert_ne!(canonical(&more), expected(&layout()), "{index} twice");
        }
    }
}
