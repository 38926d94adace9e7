//! What hosts are called on the simulated network.

use streamkeeper::Address;

use super::HostId;

/// Where every server listens.
pub(crate) const PORT: u16 = 6_379;

/// A server's name, as other servers and sentinels tell it.
pub(crate) fn name_of(server: HostId) -> String {
    format!("h{server}")
}

/// A server's address.
pub(crate) fn address_of(server: HostId) -> Address {
    Address::Tcp { host: name_of(server), port: PORT, tls: false }
}

/// The server at an address.
pub(crate) fn server_at(address: &Address) -> Option<HostId> {
    match address {
        Address::Tcp { host, port: PORT, .. } => host.strip_prefix('h')?.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_found_where_it_is_said_to_be() {
        assert_eq!(server_at(&address_of(7)), Some(7));
        let elsewhere = Address::Tcp { host: "h7".to_owned(), port: 1, tls: false };
        assert_eq!(server_at(&elsewhere), None);
        assert_eq!(server_at(&Address::Unix("h7".into())), None);
    }
}
