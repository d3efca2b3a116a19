//! Damaged captures: flipped bits and cuts, in packets and in the file around them, the same ones
//! every time. Nothing panics, and what is wrong is counted and told with its place.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use collector::CollectorConfig;
use collector::capture::{Batch, CaptureError, LinkType, SourceState, file};
use collector::decode::{Decoder, DecoderConfig};
use collector::flow::FlowTable;
use collector::flow_alert::Place;
use collector::hooks::HookRunner;
use collector::ingest::feed::{Feed, FeedConfig};
use collector::offline;
use collector::pipeline::{Item, Pipeline, PipelineParts};
use collector::report::CollectorReport;
use shared::model::{FlowEnd, LocalNetworks, Timestamp};
use shared::script::registry::ScriptSetup;

use crate::fuzz::mutate::Mutations;
use crate::support::{data, shared_captures};

/// The bundled captures and, where they are, the shared ones.
fn captures() -> Vec<PathBuf> {
    let folders = [Some(data("")), Some(data("export")), shared_captures()];
    let files = folders.into_iter().flatten().flat_map(|folder| std::fs::read_dir(folder).unwrap());
    let mut captures: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    captures.retain(|path| path.extension().is_some_and(|e| e == "pcap" || e == "pcapng" || e == "cap"));
    captures.sort();
    assert!(captures.len() > 10);
    captures
}

fn pipeline(feed: Option<Feed>) -> Pipeline {
    let config = CollectorConfig { max_flows: 500, ..CollectorConfig::default() };
    let setup = ScriptSetup { sources: shared::script::source::builtin(), ..ScriptSetup::default() };
    let (hooks, errors, _) = HookRunner::load(&setup, 120, Timestamp::ZERO);
    assert!(errors.is_empty());
    Pipeline::new(PipelineParts {
        place: Place { site: "s".into(), node: "n".into(), ifid: 0, interface: "i".into() },
        epoch: 0,
        networks: Arc::new(LocalNetworks::default()),
        decoder: Decoder::new(DecoderConfig::default()),
        feed,
        table: FlowTable::new(config.table(120, 1)),
        hooks,
        summary_interval_s: 1,
        summaries: true,
        alerts: true,
    })
}

struct Frame {
    at: Timestamp,
    link: LinkType,
    length: u32,
    bytes: Vec<u8>,
}

fn frames(path: &std::path::Path) -> Vec<Frame> {
    let (mut source, mut batch, mut frames) = (file::open(path).unwrap(), Batch::default(), Vec::new());
    loop {
        let state = source.next_batch(&mut batch).unwrap();
        frames.extend(batch.iter().map(|(desc, bytes)| Frame {
            at: desc.ts,
            link: desc.link,
            length: desc.length,
            bytes: bytes.to_vec(),
        }));
        if state == SourceState::End {
            return frames;
        }
    }
}

/// Flips bits in most frames, more often near their heads; cuts every seventh short.
fn damage(frames: &mut [Frame], mutations: &mut Mutations) {
    for (number, frame) in frames.iter_mut().enumerate() {
        if number % 7 == 0 {
            // No link header and IP header fit.
            frame.bytes.truncate(9);
        } else if mutations.below(4) > 0 {
            let near = [40, 80, frame.bytes.len()][mutations.below(3)].min(frame.bytes.len());
            mutations.flip(&mut frame.bytes[..near]);
        }
    }
}

fn replay(frames: &[Frame], feed: Option<Feed>) -> CollectorReport {
    let mut pipeline = pipeline(feed);
    let (mut batch, mut items) = (Batch::default(), Vec::new());
    for piece in frames.chunks(256) {
        batch.clear();
        for frame in piece {
            batch.push(frame.at, frame.link, 0, frame.length, &frame.bytes);
        }
        pipeline.packets(&batch, &mut || None, &mut items);
        readable(&mut items);
    }
    pipeline.finish(FlowEnd::EndOfFile, true, &mut || None, &mut items, &mut readable);
    readable(&mut items);
    assert_eq!(pipeline.live(), 0);
    pipeline.report()
}

/// What goes to the bus can be read there.
fn readable(items: &mut Vec<Item>) {
    for item in items.drain(..) {
        if let Item::Flows(batch) = item {
            assert_eq!(batch.read().unwrap().flows.len(), batch.len());
        }
    }
}

#[test]
fn damaged_packets_are_counted_and_harm_nothing() {
    for (number, path) in captures().iter().enumerate() {
        let mut mutations = Mutations::new(number as u64);
        let mut frames = frames(path);
        damage(&mut frames, &mut mutations);
        let report = replay(&frames, None);
        let errors: u64 = report.errors.values().sum();
        assert_eq!(report.packets, frames.len() as u64);
        assert!(errors >= frames.len().div_ceil(7) as u64, "{}: {:?}", path.display(), report.errors);
    }
}

#[test]
fn damaged_exports_are_counted_and_harm_nothing() {
    let mut errors = 0;
    for (number, path) in captures().iter().enumerate() {
        let mut mutations = Mutations::new(number as u64);
        let mut frames = frames(path);
        for frame in frames.iter_mut() {
            // The headers before the datagram are left alone.
            if let Some(datagram) = frame.bytes.get_mut(42..).filter(|datagram| !datagram.is_empty()) {
                mutations.flip(datagram);
            }
        }
        let report = replay(&frames, Some(Feed::new(FeedConfig::default(), DecoderConfig::default())));
        if path.starts_with(data("export")) {
            errors += report
                .errors
                .iter()
                .filter(|(kind, _)| kind.starts_with("export_"))
                .map(|(_, n)| n)
                .sum::<u64>();
        }
    }
    assert!(errors > 0);
}

/// Replays a file of these bytes: the packets that came, and why it ended.
fn replay_file(bytes: &[u8]) -> (CollectorReport, Result<(), CaptureError>) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let mut pipeline = pipeline(None);
    let result = match file::open(file.path()) {
        Ok(mut source) => offline::run(&mut *source, &mut pipeline, |_| {}),
        Err(error) => Err(error),
    };
    assert_eq!(pipeline.live(), 0);
    (pipeline.report(), result)
}

/// The byte that an error about a file's structure names.
fn offset(error: &CaptureError) -> u64 {
    match error {
        CaptureError::Truncated { offset, .. } | CaptureError::Malformed { offset, .. } => {
            assert!(error.to_string().contains(&format!("byte {offset}")), "{error}");
            *offset
        }
        other => panic!("not about the structure: {other}"),
    }
}

#[test]
fn captures_cut_anywhere_give_what_is_whole_and_tell_where_they_end() {
    for path in captures() {
        let whole = std::fs::read(&path).unwrap();
        let mut before = 0;
        for part in [1, 3, 5, 7] {
            let cut = whole.len() * part / 8 + part;
            let (report, result) = replay_file(&whole[..cut]);
            assert!(report.packets >= before, "{}: a longer piece has more packets", path.display());
            before = report.packets;
            // A cut between two records is none.
            let Err(error) = result else { continue };
            assert!(offset(&error) <= cut as u64, "{}: {error}", path.display());
            // A file that ends inside its own header is not opened.
            let told = report.errors.get("capture_truncated").copied();
            assert!(told == Some(1) || report.packets == 0, "{}: {:?}", path.display(), report.errors);
        }
    }
}

#[test]
fn captures_with_flipped_bits_in_their_structure_end_with_a_clear_error_at_worst() {
    let mut damaged = 0;
    for (number, path) in captures().iter().enumerate() {
        let mut mutations = Mutations::new(number as u64);
        let whole = std::fs::read(path).unwrap();
        // All of it once, and the more often its beginning, where the structure is densest.
        for most in [whole.len(), 50_000, 50_000] {
            let mut changed = whole[..whole.len().min(most)].to_vec();
            let near = [64, 400, changed.len()][mutations.below(3)].min(changed.len());
            mutations.flip(&mut changed[..near]);
            let (report, result) = replay_file(&changed);
            match result {
                Ok(()) => {}
                // The first bytes say what kind of file it is.
                Err(CaptureError::NotACapture { .. }) => assert_eq!(report.packets, 0),
                Err(error) => {
                    damaged += 1;
                    assert!(offset(&error) <= changed.len() as u64, "{}: {error}", path.display());
                    assert!(report.packets == 0 || report.errors.contains_key(error.kind()));
                }
            }
        }
    }
    assert!(damaged > 5, "only {damaged} were damaged enough");
}
