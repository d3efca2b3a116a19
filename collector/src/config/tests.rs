use super::*;

#[test]
fn an_interface_may_count_tunnels_its_own_way() {
    let config: CollectorConfig = serde_json::from_str(
        r#"{"tunnels": "outer", "interface": [{"name": "a"}, {"name": "b", "tunnels": "inner"}]}"#,
    )
    .unwrap();
    let tunnels: Vec<Tunnels> =
        config.interface.iter().map(|interface| config.decoder(interface, 7).tunnels).collect();
    assert_eq!(tunnels, [Tunnels::Outer, Tunnels::Inner]);
    assert_eq!(CollectorConfig::default().tunnels, Tunnels::Inner);
    assert!(serde_json::from_str::<CollectorConfig>(r#"{"tunnels": "both"}"#).is_err());
}

fn wrong(interface: &str) -> Vec<String> {
    let interface = of(interface);
    CollectorConfig { interface: vec![interface], ..CollectorConfig::default() }.check()
}

/// An interface with these settings besides its name, in JSON.
fn of(settings: &str) -> InterfaceConfig {
    serde_json::from_str(&format!("{{\"name\": \"eth0\"{settings}}}")).unwrap()
}

#[test]
fn a_name_is_enough() {
    let interface = of("");
    assert_eq!((interface.source, interface.threads, interface.buffer_mib), (Source::Libpcap, 1, 64));
    assert!(wrong("").is_empty());
    assert!(wrong(r#", "source": "af_packet", "threads": 4, "filter": "vlan 7""#).is_empty());
}

#[test]
fn what_cannot_work_is_said_with_its_key() {
    for (settings, key) in [
        (r#", "threads": 0"#, "threads: must be between"),
        (r#", "threads": 65"#, "threads: must be between"),
        (r#", "threads": 2, "cores": [0]"#, "cores: 1 are named for 2 threads"),
        (r#", "cores": [99999]"#, "cores: there is no core 99999 here"),
        (r#", "threads": 2, "files": ["a.pcap"]"#, "threads: files are read by one"),
        (r#", "threads": 2, "device": "any""#, "threads: any is read by one"),
        (r#", "source": "af_packet", "device": "any""#, "source: af_packet takes one device"),
        (r#", "snaplen": 0"#, "snaplen: must be at least 1"),
        (r#", "buffer_mib": 0"#, "buffer_mib: must be between"),
        (r#", "buffer_mib": 4096"#, "buffer_mib: must be between"),
        (r#", "filter": "tcp prot 1""#, "filter: invalid capture filter"),
    ] {
        let wrong = wrong(settings);
        assert_eq!(wrong.len(), 1, "{settings}: {wrong:?}");
        assert!(wrong[0].contains(key) && wrong[0].contains("eth0"), "{wrong:?}");
    }
}

#[test]
fn the_tables_part_comes_from_the_section() {
    let table = |text: &str| serde_json::from_str::<CollectorConfig>(text).unwrap().table(60, 1);
    assert!(table(r#"{"tunnel_parts_flows": true}"#).tunnel_parts_flows);
    assert!(!table("{}").tunnel_parts_flows);
    let limits = table(r#"{"flow_idle_s": 7, "flow_closed_s": 3, "flow_active_s": 9, "max_flows": 11}"#);
    assert_eq!((limits.idle_s, limits.closed_s, limits.active_s, limits.max_flows), (7, 3, 9, 11));
}
