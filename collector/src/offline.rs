//! Capture files through the collector's core alone: no bus, no store, one thread.

use shared::model::FlowEnd;

use crate::capture::{Batch, CaptureError, PacketSource, SourceState};
use crate::pipeline::{Item, Pipeline};

/// Reads `source` to its end and hands over what comes out.
///
/// # Errors
/// Why the source failed; what came before has been handed over, and every flow was ended.
pub fn run(
    source: &mut dyn PacketSource,
    pipeline: &mut Pipeline,
    mut take: impl FnMut(Item),
) -> Result<(), CaptureError> {
    let mut batch = Batch::default();
    let mut items = Vec::new();
    loop {
        let state = source.next_batch(&mut batch);
        pipeline.packets(&batch, &mut || None, &mut items);
        items.drain(..).for_each(&mut take);
        let result = match state {
            Ok(SourceState::More | SourceState::Idle) => continue,
            Ok(SourceState::End) => Ok(()),
            Err(error) => {
                pipeline.count_error(error.kind(), 1);
                Err(error)
            }
        };
        let mut hand_over = |items: &mut Vec<Item>| items.drain(..).for_each(&mut take);
        pipeline.finish(FlowEnd::EndOfFile, true, &mut || None, &mut items, &mut hand_over);
        return result;
    }
}
