//! Which hash slot of a Redis Cluster a key lies in.

use streamkeeper_core::keys::hash_tag;

/// How many slots a cluster has.
const SLOTS: u16 = 16_384;

/// The slot of a key: that of its hash tag, if it has one.
pub(crate) fn slot_of(key: &str) -> u16 {
    let hashed = hash_tag(key).map_or(key, |tag| &tag[1..tag.len() - 1]);
    crc16(hashed.as_bytes()) % SLOTS
}

/// CRC16/XMODEM, bit by bit: it is asked for once per connector.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| match crc & 0x8000 {
            0 => crc << 1,
            _ => (crc << 1) ^ 0x1021,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::server::Redis;

    #[test]
    fn a_tag_alone_decides() {
        for (key, slot) in [
            ("123456789", 12_739),
            ("", 0),
            ("foo", 12_182),
            ("{foo}", 12_182),
            ("{foo}-input", 12_182),
            ("a{foo}b{bar}", 12_182),
            ("{}foo", 9_500),
            ("foo{", 7_673),
            ("{{foo}}", 13_308),
            ("Grüße", 8_844),
        ] {
            assert_eq!(slot_of(key), slot, "{key}");
        }
    }

    #[test]
    fn slots_are_those_of_the_server() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            // The bus of a cluster needs a port of its own.
            let bus = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
            let redis =
                Redis::start(&["--cluster-enabled", "yes", "--bind", "127.0.0.1", "--cluster-port", &bus]).await;
            let mut connection = redis.connect(false).await;
            let odd = ["", "{", "}", "{}", "{}{a}", "a{b", "a}b{c}", "{a}{b}", "{{a}}", "a{}b", "Grüße {ä}-input"];
            let many = (0..500).map(|n| format!("{{svc{n}}}-input"));
            for key in odd.into_iter().map(str::to_owned).chain(many) {
                let mut ask = redis::cmd("CLUSTER");
                let told: u16 = ask.arg("KEYSLOT").arg(&key).query_async(&mut connection).await.unwrap();
                assert_eq!(slot_of(&key), told, "{key}");
            }
        });
    }
}
