use super::*;

#[test]
fn a_batch_gives_back_what_was_pushed_and_keeps_its_memory() {
    let mut batch = Batch::default();
    batch.push(Timestamp::from_ns(1), LinkType::ETHERNET, 0, 60, b"abc");
    batch.push(Timestamp::from_ns(2), LinkType::RAW, 3, 1, b"defg");
    let seen: Vec<_> = batch.iter().map(|(d, b)| (d.ts.ns(), d.length, d.interface, b)).collect();
    assert_eq!(seen, [(1, 60, 0, &b"abc"[..]), (2, 4, 3, &b"defg"[..])]);
    let capacity = batch.data.capacity();
    batch.clear();
    assert!(batch.is_empty());
    assert_eq!(batch.data.capacity(), capacity);
}

#[test]
fn times_that_cannot_be_are_the_nearest_that_can() {
    let mut batch = Batch::default();
    for ts in [Timestamp::MAX, Timestamp::from_ns(i64::MIN), Timestamp::from_secs(4_294_967_295)] {
        batch.push(ts, LinkType::ETHERNET, 0, 3, b"abc");
    }
    let seen: Vec<_> = batch.iter().map(|(desc, _)| desc.ts.secs()).collect();
    assert_eq!(seen, [LATEST.secs(), 0, 4_294_967_295]);
    assert!(LATEST.plus_secs(1_000_000_000) < Timestamp::MAX);
}

#[test]
fn errors_name_the_file_and_the_cause() {
    let error =
        CaptureError::Truncated { path: "a.pcap".into(), offset: 24, cause: "packet record".to_owned() };
    assert_eq!(error.to_string(), "a.pcap is cut short: packet record at byte 24");
    let error = CaptureError::NotPermitted { name: "eth0".to_owned(), cause: "EPERM".to_owned() };
    assert!(error.to_string().contains("CAP_NET_RAW"));
}
