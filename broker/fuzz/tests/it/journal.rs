//! That the fuzzer gets as far as it should: a frame that was changed and sealed is looked into.

use ganger_broker::storage::Seq;
use ganger_fuzz::journal::last_of;

/// Changes the first byte of a frame's first record, seals the frame, and has those after it name
/// its tag; with the record's checksum put right if that is wanted.
fn with_another_record(frame: u8, with_sum: bool) -> Vec<u8> {
    let mut script = vec![0, 2, frame, 8, 0, 1, 0, b'X'];
    if with_sum {
        script.extend([9, frame]);
    }
    script.push(8);
    script
}

#[test]
fn golden_journal_is_sound_before_any_change() {
    assert_eq!(last_of(&[0]), Some(Seq(48)));
}

#[test]
fn record_with_another_checksum_is_refused_though_its_frame_is_sealed() {
    let (mut summed, mut refused) = (0, 0);
    for frame in 0..20 {
        if last_of(&with_another_record(frame, true)) == Some(Seq(48)) {
            summed += 1;
            refused += usize::from(last_of(&with_another_record(frame, false)).is_none());
        }
    }
    // Frames without records have no checksum either.
    assert!(refused >= 3 && summed > refused, "{summed} were sound, {refused} of them refused");
}
