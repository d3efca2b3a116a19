//! Checks that look things up in lists, in pools and in databases of places.

use shared::geo::GeoBases;
use shared::script::lists::List;

use super::show::{asks, clock, from_outside, ftp, inside, mail, noise, page, resolve};
use super::tls::{GOOD, Hello, hello, known, known_sha1, showing};
use super::{Proof, places};
use crate::support::traffic::{Watching, Wire};

/// A DHCP message (RFC 2131 §2) from one address to another.
fn dhcp(from: [u8; 4], to: [u8; 4], ports: (u16, u16)) -> impl FnOnce(&mut Wire) {
    move |wire| {
        wire.client.0 = from;
        let mut message = vec![if ports.0 == 67 { 2 } else { 1 }, 1, 6, 0, 0x12, 0x34, 0x56, 0x78];
        message.resize(236, 0);
        message.extend([0x63, 0x82, 0x53, 0x63, 53, 1, 2, 0xff]);
        wire.datagram(true, to, ports.0, ports.1, &message);
    }
}

const BROADCAST: [u8; 4] = [255; 4];

/// The JA4 of the usual hello, as a script reads it.
fn ja4() -> String {
    let tell = "#{ hooks: #{ flowEnd: |now, config| trigger_alert(#{ message: flow.ja4 }) } }";
    let beside = Some(("tell".to_owned(), Some(tell.to_owned())));
    let mut wire = Wire::watched(&Watching { only: Some(String::new()), beside, ..Watching::default() });
    hello(Hello::default())(&mut wire);
    let ja4 = wire.alerts().remove(0).message;
    assert!(ja4.starts_with("t12d0204h2_"), "{ja4}");
    ja4
}

proofs! {
    blacklisted [list("blacklist", "evil.example.org")]: asks("www.evil.example.org"), asks("www.example.org");
    blacklisted_client_contact [list("blacklist", "203.0.113.0/24")]: from_outside(page), page;
    blacklisted_server_contact [list("blacklist", "203.0.113.0/24")]: page, from_outside(page);
    malware_host_contacted [list("malware", "203.0.113.5")]: page, inside(page);
    risky_domain [list("risky_domains", "example.org")]: page, asks("www.example.com");
    risky_asn [list("risky_asns", "AS64500"), places()]: page, inside(page);
    country_check [config(r#"{ "countries": ["NZ"] }"#), places()]: page, inside(page);
    malicious_fingerprint [list("malicious_fingerprints", &ja4())]: hello(Hello::default()),
        hello(Hello { alpn: &["http/1.1"], ..Hello::default() });
    malicious_certificate [list("malicious_certificates", &known_sha1())]: known, showing(GOOD);
    unexpected_dns [config(r#"{ "servers": ["198.51.100.0/24"] }"#)]: asks("www.example.org"), |wire: &mut Wire| {
        wire.server = [198, 51, 100, 7];
        resolve(wire, "www.example.org");
    };
    unexpected_ntp [list("ntp_servers", "198.51.100.7")]: |wire: &mut Wire| clock(wire, [203, 0, 113, 5], 123),
        |wire: &mut Wire| clock(wire, [198, 51, 100, 7], 123);
    unexpected_smtp [list("smtp_servers", "198.51.100.7")]: mail, |wire: &mut Wire| {
        wire.server = [198, 51, 100, 7];
        mail(wire);
    };
    unexpected_dhcp [list("dhcp_servers", "192.168.1.1")]: dhcp([192, 168, 1, 66], BROADCAST, (67, 68)),
        |wire: &mut Wire| {
            dhcp([0; 4], BROADCAST, (68, 67))(wire);
            dhcp([192, 168, 1, 1], BROADCAST, (67, 68))(wire);
            dhcp([192, 168, 1, 10], [192, 168, 1, 1], (68, 67))(wire);
        };
    unexpected_gateway [list("gateways", "02:00:00:00:00:FE")]: page, |wire: &mut Wire| {
        wire.macs[1][5] = 0xfe;
        page(wire);
        wire.macs[1][5] = 2;
        inside(page)(wire);
    };
    device_protocol_not_allowed [config(r#"{ "allowed": ["HTTP", "DNS"], "forbidden": [] }"#)]: ftp,
        |wire: &mut Wire| {
            page(wire);
            wire.udp(9999, &[(true, &noise(100)), (false, &noise(90))]);
        };
    remote_to_remote []: |wire: &mut Wire| {
        wire.client.0 = [198, 51, 100, 7];
        page(wire);
    }, |wire: &mut Wire| {
        page(wire);
        wire.client.0 = [198, 51, 100, 7];
        wire.datagram(true, [224, 0, 0, 251], 5353, 5353, b"x");
    };
    vlan_bidirectional_traffic [config(r#"{ "vlans": [7] }"#)]: |wire: &mut Wire| {
        wire.vlan = 7;
        page(wire);
    }, |wire: &mut Wire| {
        page(wire);
        wire.vlan = 7;
        wire.udp(9999, &[(true, b"one way")]);
    };
}

#[test]
fn places_are_fields_of_flows_and_part_of_alerts_and_change_with_their_databases() {
    let text = "#{ hooks: #{ flowEnd: |now, config| trigger_alert(#{
        message: `${flow.client_country}|${flow.server_country}|${flow.server_city}|${flow.server_asn}|${flow.server_longitude}`
    }) } }";
    let beside = Some(("tell".to_owned(), Some(text.to_owned())));
    let watching = |geo| {
        let (only, beside) = (Some(String::new()), beside.clone());
        Watching { only, beside, geo, ..Watching::default() }
    };
    let mut wire = Wire::watched(&watching(places()));
    page(&mut wire);
    wire.wait(120);
    wire.client.1 += 1;
    page(&mut wire);
    wire.reload(&watching(GeoBases::default()));
    let alerts = wire.alerts();
    let messages: Vec<&str> = alerts.iter().map(|alert| alert.message.as_str()).collect();
    assert_eq!(messages, ["|NZ|Wellington|64500|174750000", "|||0|0"]);
    let json = serde_json::to_value(&alerts[0]).unwrap();
    assert_eq!(json["server"]["geo"]["as_name"], "Example Net");
    assert_eq!(json["server"]["geo"]["latitude"], -41.25);
    assert!(json["client"].get("geo").is_none() && alerts[1].server.as_ref().unwrap().geo.is_none());
}

#[test]
fn hosts_know_where_they_are() {
    let proof = Proof::of("host_bytes").places().beside_one_that(
        "if params.entity_info[\"country\"] == \"NZ\" && params.entity_info[\"asn\"] == 64500 {
             trigger_alert(#{ message: params.entity_info[\"city\"] });
         }",
    );
    let alerts = proof.all_alerts(page);
    let [alert] = &alerts[..] else { panic!("{alerts:?}") };
    assert_eq!((alert.entity_value.as_str(), alert.message.as_str()), ("203.0.113.5", "Wellington"));
    assert_eq!(alert.client.as_ref().unwrap().geo.as_ref().unwrap().continent, "OC");
}

#[test]
fn a_list_that_comes_while_all_runs_wakes_the_checks_that_need_it() {
    let mut wire = Wire::watched(&Watching { only: Some("blacklisted".to_owned()), ..Watching::default() });
    page(&mut wire);
    let mut list = List::default();
    list.add("203.0.113.5");
    let mut listed = Watching { only: Some("blacklisted".to_owned()), ..Watching::default() };
    listed.lists.insert("blacklist", list);
    wire.reload(&listed);
    wire.client.1 += 1;
    page(&mut wire);
    let clients: Vec<u16> = wire.alerts().iter().map(|alert| alert.client.as_ref().unwrap().port).collect();
    assert_eq!(clients, [50_001]);
}
