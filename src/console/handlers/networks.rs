//! Lists of networks as they are typed into a form, one a line. Pure.
//!
//! Each fault is told with its line. Used by the forms of API keys and of IP whitelists.

use ipnet::IpNet;

use super::super::pages::allow_list::LineError;
use crate::model::AllowList;

/// Characters that are repeated of what is no network.
const TOLD_CHARACTERS: usize = 60;

/// What was typed.
#[derive(Debug, Default)]
pub struct TypedNetworks {
    /// The networks among it.
    pub list: AllowList,
    /// What is none.
    pub faults: Vec<LineError>,
    /// What is kept as something else than was typed, in words.
    pub rounded: Vec<String>,
}

/// Reads `text`: a network a line; several in a line, as they are pasted from elsewhere, are taken too.
pub fn read_networks(text: &str) -> TypedNetworks {
    let mut typed = TypedNetworks::default();
    let mut networks: Vec<IpNet> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for part in line.split([',', ';', ' ', '\t']).filter(|part| !part.is_empty()) {
            let Some(network) =
                AllowList::parse([part]).ok().and_then(|list| list.networks().first().copied())
            else {
                typed.faults.push(LineError { line: number + 1, message: fault(part) });
                continue;
            };
            if part.parse::<IpNet>().is_ok_and(|written| written != written.trunc()) {
                typed.rounded.push(format!("{part} was saved as {network}."));
            }
            if !networks.contains(&network) {
                networks.push(network);
            }
        }
    }
    typed.list = AllowList::new(networks);
    typed
}

/// What is to be said of a list as it is.
pub(super) fn remarks(list: &AllowList) -> Vec<String> {
    let all = list.networks().iter().filter(|network| network.prefix_len() == 0);
    all.map(|network| match network {
        IpNet::V4(_) => format!("{network}: This allows every address."),
        IpNet::V6(_) => format!("{network}: This allows every IPv6 address."),
    })
    .collect()
}

/// A network a line, as the form shows them. A single address is shown without its length.
pub fn as_lines(list: &AllowList) -> String {
    let lines: Vec<_> = list.networks().iter().map(shown).collect();
    lines.join("\n")
}

/// A network as people write it.
pub(super) fn shown(network: &IpNet) -> String {
    if network.prefix_len() == network.max_prefix_len() {
        network.addr().to_string()
    } else {
        network.to_string()
    }
}

fn fault(part: &str) -> String {
    let told: String = part.chars().take(TOLD_CHARACTERS).collect();
    if part.contains('/') {
        format!("{told} is not an IP range.")
    } else {
        format!("{told} is not an IP address.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s89_faults_are_told_by_line_and_everything_else_is_read() {
        let typed = read_networks("192.0.2.0/24\n192.0.2.300\n\n 2001:db8::1 , nonsense\r\n192.0.2.0/33\n");
        let faults: Vec<_> = typed.faults.iter().map(|fault| (fault.line, fault.message.as_str())).collect();
        assert_eq!(
            faults,
            [
                (2, "192.0.2.300 is not an IP address."),
                (4, "nonsense is not an IP address."),
                (5, "192.0.2.0/33 is not an IP range.")
            ]
        );
        assert_eq!(as_lines(&typed.list), "192.0.2.0/24\n2001:db8::1");
    }

    #[test]
    fn host_bits_are_dropped_and_said_and_what_is_there_twice_is_kept_once() {
        let typed = read_networks("192.0.2.7/24\n192.0.2.0/24\n198.51.100.7");
        assert_eq!(typed.rounded, ["192.0.2.7/24 was saved as 192.0.2.0/24."]);
        assert_eq!(as_lines(&typed.list), "192.0.2.0/24\n198.51.100.7");
        assert!(typed.faults.is_empty());
    }

    #[test]
    fn a_list_that_allows_everything_is_remarked_on() {
        let list: AllowList = "0.0.0.0/0,::/0,192.0.2.0/24".parse().unwrap();
        assert_eq!(
            remarks(&list),
            ["0.0.0.0/0: This allows every address.", "::/0: This allows every IPv6 address."]
        );
        assert!(remarks(&AllowList::default()).is_empty());
    }
}
