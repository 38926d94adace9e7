//! What the nodes of a cluster say about who serves a slot: `CLUSTER SLOTS`, and `MOVED`.

use redis::Value;

use crate::links::address::Address;

/// Who serves the slot, as one node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Map {
    /// The primary of the slot; nobody, if the slot is not covered.
    pub(super) serving: Option<Address>,
    /// All nodes that can be reached: primaries and replicas of all slots.
    pub(super) nodes: Vec<Address>,
}

impl Map {
    /// From the answer to `CLUSTER SLOTS` of the node at `asked`; nothing, if it makes no sense. What a node does not say
    /// about others is as it is with itself: the host, if it tells none, and whether there is TLS.
    pub(super) fn read(answer: &Value, slot: u16, asked: &Address) -> Option<Map> {
        let (mut serving, mut nodes) = (None, Vec::new());
        for range in list(answer)? {
            let [from, to, servers @ ..] = list(range)? else { return None };
            let (from, to) = (number(from)?, number(to)?);
            for (place, server) in servers.iter().enumerate() {
                // The first one is the primary. One whose address nobody knows is of no use, whatever it is.
                let Some(address) = address(list(server)?, asked)? else { continue };
                if place == 0 && (from..=to).contains(&i64::from(slot)) {
                    serving = Some(address.clone());
                }
                if !nodes.contains(&address) {
                    nodes.push(address);
                }
            }
        }
        Some(Map { serving, nodes })
    }
}

/// The slot and the node that `MOVED 3999 127.0.0.1:6381` tells; nothing, if it is not that. Without a host it is the one
/// of the node that says so, which `near` is.
pub(super) fn moved(said: &str, near: &Address) -> Option<(u16, Address)> {
    let mut words = said.strip_prefix("MOVED ")?.split([' ', ';']);
    let slot = words.next()?.parse().ok()?;
    let (host, port) = words.next()?.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    at(Some(host), port.parse().ok()?, near).map(|address| (slot, address))
}

/// The address of one server of a range: host, port, id, and from Redis 7 on what else is known of it. The outer `None`: it
/// makes no sense; the inner one: its address is not known.
fn address(server: &[Value], asked: &Address) -> Option<Option<Address>> {
    let [host, port, more @ ..] = server else { return None };
    let port = u16::try_from(number(port)?).ok()?;
    let host = match host {
        Value::Nil => None,
        host => Some(text(host)?),
    };
    // `?`: it should be told by name and has none. Its IP address stands behind.
    let host = if host == Some("?") { Some(other_host(more.get(1))?) } else { host };
    Some(if port == 0 || host == Some("?") { None } else { at(host, port, asked) })
}

/// The IP address among the metadata, or what stands for an unknown one.
fn other_host(metadata: Option<&Value>) -> Option<&str> {
    let Some(Value::Array(metadata)) = metadata else { return Some("?") };
    let mut pairs = metadata.chunks_exact(2).map(|pair| (text(&pair[0]), text(&pair[1])));
    Some(pairs.find_map(|(name, value)| value.filter(|_| name == Some("ip"))).unwrap_or("?"))
}

fn at(host: Option<&str>, port: u16, near: &Address) -> Option<Address> {
    let Address::Tcp { host: near, tls, .. } = near else { return None };
    let host = host.filter(|host| !host.is_empty()).unwrap_or(near).to_owned();
    Some(Address::Tcp { host, port, tls: *tls })
}

fn list(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(values) => Some(values),
        _ => None,
    }
}

fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        _ => None,
    }
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp { host: host.to_owned(), port, tls: false }
    }

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    fn server(host: Value, port: i64, metadata: &[&str]) -> Value {
        let metadata = metadata.iter().map(|text| bulk(text)).collect();
        Value::Array(vec![host, Value::Int(port), bulk("id"), Value::Array(metadata)])
    }

    fn range(from: i64, to: i64, servers: Vec<Value>) -> Value {
        Value::Array([vec![Value::Int(from), Value::Int(to)], servers].concat())
    }

    #[test]
    fn the_map() {
        let asked = tcp("seed", 7_000);
        let answer = Value::Array(vec![
            range(0, 99, vec![server(bulk("10.0.0.1"), 1, &[]), server(bulk("10.0.0.2"), 2, &[])]),
            range(100, 100, vec![server(Value::Nil, 3, &[]), server(bulk(""), 4, &[])]),
            range(101, 199, vec![server(bulk("?"), 5, &["ip", "10.0.0.5"]), server(bulk("?"), 6, &[])]),
            range(200, 299, vec![server(bulk("10.0.0.1"), 1, &["hostname", "one"])]),
            range(300, 300, vec![server(bulk("::1"), 7, &[])]),
            // Its address is not known, and that of its replica does not serve.
            range(301, 301, vec![server(bulk("?"), 8, &[]), server(bulk("10.0.0.2"), 2, &[])]),
        ]);
        for (slot, serving) in [
            (0, Some(tcp("10.0.0.1", 1))),
            (99, Some(tcp("10.0.0.1", 1))),
            (100, Some(tcp("seed", 3))),
            (150, Some(tcp("10.0.0.5", 5))),
            (250, Some(tcp("10.0.0.1", 1))),
            (300, Some(tcp("::1", 7))),
            (301, None),
            (302, None),
        ] {
            let map = Map::read(&answer, slot, &asked).unwrap();
            assert_eq!(map.serving, serving, "{slot}");
            assert_eq!(map.nodes.len(), 6, "{:?}", map.nodes);
        }
        let encrypted = Address::Tcp { host: "seed".to_owned(), port: 7_000, tls: true };
        let map = Map::read(&answer, 0, &encrypted).unwrap();
        assert!(map.nodes.iter().all(|node| matches!(node, Address::Tcp { tls: true, .. })));
    }

    #[test]
    fn nonsense_is_no_map() {
        let asked = tcp("seed", 7_000);
        assert_eq!(Map::read(&Value::Array(vec![]), 0, &asked), Some(Map { serving: None, nodes: vec![] }));
        for answer in [
            Value::Nil,
            Value::Okay,
            Value::Array(vec![Value::Int(1)]),
            Value::Array(vec![Value::Array(vec![Value::Int(1)])]),
            Value::Array(vec![range(0, 1, vec![Value::Nil])]),
            Value::Array(vec![range(0, 1, vec![server(Value::Int(1), 1, &[])])]),
            Value::Array(vec![range(0, 1, vec![server(bulk("h"), 65_536, &[])])]),
            Value::Array(vec![range(0, 1, vec![server(bulk("h"), -1, &[])])]),
        ] {
            assert_eq!(Map::read(&answer, 0, &asked), None, "{answer:?}");
        }
    }

    #[test]
    fn moved_names_slot_and_node() {
        let near = tcp("near", 1);
        for (said, told) in [
            ("MOVED 3999 127.0.0.1:6381", Some((3_999, tcp("127.0.0.1", 6_381)))),
            (
                "MOVED 3999 127.0.0.1:6381; the data streams must lie in its slot",
                Some((3_999, tcp("127.0.0.1", 6_381))),
            ),
            ("MOVED 3999 ::1:6381", Some((3_999, tcp("::1", 6_381)))),
            ("MOVED 3999 [::1]:6381", Some((3_999, tcp("::1", 6_381)))),
            ("MOVED 3999 redis.example:6381", Some((3_999, tcp("redis.example", 6_381)))),
            ("MOVED 3999 :6381", Some((3_999, tcp("near", 6_381)))),
            ("MOVED 3999", None),
            ("MOVED x 127.0.0.1:6381", None),
            ("MOVED 3999 127.0.0.1:x", None),
            ("READONLY You can't write against a read only replica.", None),
        ] {
            assert_eq!(moved(said, &near), told, "{said}");
        }
    }
}
