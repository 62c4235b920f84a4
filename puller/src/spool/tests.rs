use std::io::Read;
use std::thread;

use super::*;

fn spool(size: u64) -> (tempfile::TempDir, Spool) {
    let temp = tempfile::tempdir().unwrap();
    let spool = Spool::open(Dir::open(temp.path()).unwrap(), size).unwrap();
    (temp, spool)
}

fn again(temp: &tempfile::TempDir, size: u64) -> Spool {
    Spool::open(Dir::open(temp.path()).unwrap(), size).unwrap()
}

fn gap(start: u64, end: u64) -> Gap {
    Gap { start, end }
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|n| u8::try_from(n % 251).unwrap()).collect()
}

fn fill(spool: &Spool, gap: Gap, bytes: &[u8]) -> Option<Stop> {
    let mut writer = spool.writer(gap).unwrap();
    for chunk in bytes.chunks(7001) {
        if writer.write(chunk) == Taken::Stopped {
            break;
        }
    }
    writer.finish()
}

fn read(spool: &Spool) -> Vec<u8> {
    let mut all = Vec::new();
    spool.reader().read_to_end(&mut all).unwrap();
    all
}

#[test]
fn what_one_transfer_writes_is_read_while_it_comes() {
    let whole = bytes(3 * PORTION + 5);
    let (_temp, spool) = spool(whole.len() as u64);
    let gaps = spool.gaps();
    assert_eq!(gaps, [gap(0, whole.len() as u64)]);
    thread::scope(|scope| {
        let reader = scope.spawn(|| read(&spool));
        assert!(fill(&spool, gaps[0], &whole).is_none());
        assert_eq!(reader.join().unwrap(), whole);
    });
    assert_eq!(spool.received(), whole.len() as u64);
    assert_eq!(spool.unread(), 0);
}

#[test]
fn c24_what_a_dead_process_got_is_not_fetched_again() {
    let whole = bytes(2 * PORTION);
    let size = whole.len() as u64;
    let (temp, first) = spool(size);
    let cut = PORTION + 17;
    fill(&first, gap(0, size), &whole[..cut]);
    drop(first);
    let second = again(&temp, size);
    assert_eq!(second.gaps(), [gap(cut as u64, size)]);
    fill(&second, gap(cut as u64, size), &whole[cut..]);
    assert_eq!(read(&second), whole);
}

#[test]
fn a_blob_that_is_all_there_still_has_a_byte_to_ask_for() {
    let whole = bytes(1000);
    let (temp, first) = spool(1000);
    fill(&first, gap(0, 1000), &whole);
    drop(first);
    let second = again(&temp, 1000);
    assert_eq!(second.gaps(), [gap(999, 1000)]);
    fill(&second, gap(999, 1000), &whole[999..]);
    assert_eq!(read(&second), whole);
}

#[test]
fn two_transfers_fill_one_blob_after_a_split() {
    let whole = bytes(8 * PORTION);
    let size = whole.len() as u64;
    let (_temp, spool) = spool(size);
    let mut front = spool.writer(gap(0, size)).unwrap();
    assert_eq!(front.write(&whole[..2 * PORTION]), Taken::All);
    let rear = spool.split(PORTION as u64).unwrap();
    let middle = 5 * PORTION;
    assert_eq!(rear, gap(middle as u64, size));
    assert_eq!(spool.gaps(), [rear]);
    thread::scope(|scope| {
        let reader = scope.spawn(|| read(&spool));
        assert!(fill(&spool, rear, &whole[middle..]).is_none());
        // The server goes on behind the cut, which is nobody's fault.
        assert_eq!(front.write(&whole[2 * PORTION..]), Taken::Stopped);
        assert!(matches!(front.finish(), Some(Stop::Full)));
        assert_eq!(reader.join().unwrap(), whole);
    });
}

#[test]
fn a_stretch_too_small_to_share_is_not_split() {
    let (_temp, spool) = spool(100);
    let _writer = spool.writer(gap(0, 100)).unwrap();
    assert_eq!(spool.split(51), None);
    assert!(spool.split(50).is_some());
}

#[test]
fn p51_what_comes_behind_the_last_byte_is_too_long() {
    let (_temp, spool) = spool(10);
    assert!(matches!(
        fill(&spool, gap(0, 10), &bytes(11)),
        Some(Stop::TooLong)
    ));
}

#[test]
fn p59_a_whole_body_in_place_of_a_part_is_read_past_what_is_there() {
    let whole = bytes(100);
    let (_temp, spool) = spool(100);
    fill(&spool, gap(0, 100), &whole[..40]);
    let mut writer = spool.writer(gap(40, 100)).unwrap();
    assert_eq!(writer.expect_whole(), Taken::All);
    assert_eq!(writer.write(&whole[..30]), Taken::All);
    assert_eq!(writer.write(&whole[30..]), Taken::All);
    assert!(writer.finish().is_none());
    assert_eq!(read(&spool), whole);
}

#[test]
fn p59_a_whole_body_is_refused_where_others_fetch_parts() {
    let (_temp, spool) = spool(1000);
    let _front = spool.writer(gap(0, 1000)).unwrap();
    let rear = spool.split(10).unwrap();
    let mut writer = spool.writer(rear).unwrap();
    assert_eq!(writer.expect_whole(), Taken::Stopped);
    assert!(matches!(writer.finish(), Some(Stop::WrongPart)));
    assert_eq!(spool.gaps(), [rear]);
}

#[test]
fn what_does_not_join_up_from_the_front_can_be_dropped() {
    let (temp, spool) = spool(1000);
    fill(&spool, gap(0, 1000), &bytes(100));
    fill(&spool, gap(500, 1000), &bytes(10));
    drop(spool);
    let spool = again(&temp, 1000);
    assert_eq!(spool.gaps(), [gap(100, 500), gap(510, 1000)]);
    spool.keep_front().unwrap();
    assert_eq!(spool.gaps(), [gap(100, 1000)]);
    assert!(!temp.path().join("500").exists());
}

#[test]
fn c21_files_that_are_no_parts_are_removed() {
    let temp = tempfile::tempdir().unwrap();
    let dir = Dir::open(temp.path()).unwrap();
    for name in ["x", "007", "-1", "1000", "99999999999999999999999"] {
        dir.replace(name, b"junk", 0o600).unwrap();
    }
    let spool = again(&temp, 1000);
    assert_eq!(spool.gaps(), [gap(0, 1000)]);
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
}

#[test]
fn a_reader_of_a_blob_that_is_given_up_sees_no_end_of_file() {
    let (_temp, spool) = spool(100);
    fill(&spool, gap(0, 100), &bytes(50));
    spool.give_up();
    let error = spool.reader().read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
}

#[test]
fn a_writer_whose_reader_is_gone_stops() {
    let (_temp, spool) = spool(100);
    drop(spool.reader());
    assert!(matches!(
        fill(&spool, gap(0, 100), &bytes(50)),
        Some(Stop::Unread)
    ));
}
