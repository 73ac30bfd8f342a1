//! Section D: commands that are none, and what is stored under names that are none.

use super::super::instance::US_IMAGE;
use super::bytes::{CONTEXT, INSTANCE, data, data_set, element, implicit, number, pdata, store, store_set};
use super::{Case, Talk};

/// No data set follows.
const NO_DATA: u16 = 0x0101;

pub(super) fn cases() -> Vec<Case> {
    [order(), commands(), names()].into_iter().flatten().collect()
}

fn order() -> Vec<Case> {
    let explicit = [&[0, 0, 0, 1][..], b"US\x02\0\x01\0"].concat();
    let garbage = [&b"garbage in a command"[..], &explicit, &[]];
    let begun = [store(1), data(false)].concat();
    let cancel = number(0x100, 0x0FFF);
    let cancel = pdata(CONTEXT, 3, &[cancel, number(0x120, 1), number(0x800, NO_DATA)].concat());
    let set = data_set(0);
    let halves = [pdata(CONTEXT, 0, &set[..10]), pdata(CONTEXT, 2, &set[10..])];
    vec![
        Case::new(
            "case_63_a_context_that_was_not_agreed_on_is_aborted_2_6",
            [Talk::open_aborted(2, 6, pdata(99, 3, &[0; 10]))],
        ),
        Case::new(
            "case_64_data_before_a_command_is_aborted_2_2",
            [Talk::open_aborted(2, 2, data(true)), Talk::open_aborted(2, 2, data(false))],
        ),
        Case::new(
            "case_65_a_command_beyond_16_kib_is_aborted_2_6",
            [Talk::open_aborted(2, 6, pdata(CONTEXT, 1, &[0; 10_000]).repeat(2))],
        ),
        Case::new(
            "case_66_a_command_that_is_garbage_is_aborted_2_6",
            garbage.map(|bad| Talk::open_aborted(2, 6, pdata(CONTEXT, 3, bad))),
        ),
        Case::new(
            "case_73_a_second_store_inside_a_data_set_is_aborted_2_2",
            [Talk::open_aborted(2, 2, [&begun[..], &store(2)].concat())],
        ),
        // Before the first data set, between two, after the last: whatever is cancelled is none of ours (PS3.7 9.3.2.3).
        Case::new(
            "case_75_a_cancel_is_ignored",
            [
                Talk::stored([&cancel[..], &store(1), &data(true), &cancel, &cancel].concat()),
                Talk::stored([&cancel[..], &store(1), &halves.concat()].concat()),
            ],
        ),
        Case::new(
            "case_76_another_context_inside_a_data_set_is_aborted_2_6",
            [Talk::open_aborted(2, 6, [&begun[..], &pdata(1, 2, b"x")].concat())],
        ),
        Case::new(
            "case_77_command_and_data_that_take_turns_are_aborted_2_2",
            [
                Talk::open_aborted(2, 2, [pdata(CONTEXT, 1, &[0; 4]), data(false)].concat()),
                Talk::open_aborted(2, 2, [&begun[..], &pdata(CONTEXT, 1, &[0; 4])].concat()),
            ],
        ),
    ]
}

fn commands() -> Vec<Case> {
    let uids = (Some(US_IMAGE.as_bytes()), Some(INSTANCE.as_bytes()));
    let with_data = |set: Vec<u8>| [pdata(CONTEXT, 3, &set), data(true)].concat();
    let missing = "missing affected SOP";
    let odd = [element(0, &[0xFF; 4]), store_set(uids.0, uids.1, 1, 1)].concat();
    let other = |field, data_type| {
        let set = [element(2, US_IMAGE.as_bytes()), number(0x100, field), number(0x110, 1)].concat();
        [set, number(0x800, data_type)].concat()
    };
    let refused = "unrecognised operation";
    vec![
        Case::new(
            "case_67_missing_uids_are_answered_0212",
            [
                Talk::answered(0x0212, missing, with_data(store_set(None, uids.1, 1, 1))),
                Talk::answered(0x0212, missing, with_data(store_set(uids.0, None, 1, 1))),
                Talk::answered(0x0212, missing, with_data(store_set(None, None, 1, 1))),
            ],
        ),
        Case::new(
            "case_68_a_wrong_or_missing_group_length_is_accepted",
            [Talk::stored(with_data(odd)), Talk::stored(with_data(store_set(uids.0, uids.1, 1, 1)))],
        ),
        Case::new(
            "case_69_a_store_without_data_set_is_answered_c000",
            [Talk::answered(
                0xC000,
                "no data set",
                pdata(CONTEXT, 3, &store_set(uids.0, uids.1, 1, NO_DATA)),
            )],
        ),
        Case::new(
            "case_70_unknown_operations_are_answered_0211",
            [
                Talk::answered(0x0211, refused, with_data(other(0x21, 1))),
                Talk::answered(0x0211, refused, pdata(CONTEXT, 3, &other(0x140, NO_DATA))),
            ],
        ),
        Case::new(
            "case_71_a_store_of_another_sop_class_is_answered_0122",
            [Talk::answered(0x0122, "SOP class", with_data(store_set(Some(b"1.2.3"), uids.1, 1, 1)))],
        ),
    ]
}

fn names() -> Vec<Case> {
    // The data set does not name itself.
    let named = |uid: &[u8]| {
        let set = store_set(Some(US_IMAGE.as_bytes()), Some(uid), 1, 1);
        [pdata(CONTEXT, 3, &set), pdata(CONTEXT, 2, &implicit(0x0010, 0x0020, b"HOSTILE1"))].concat()
    };
    let long = [b'1'; 65];
    let bad = [&b"1.2\x003.4"[..], b"../../etc", b"1\\2", b"/etc/passwd", b"", &long];
    let odd = [&b"1.2.abc"[..], b"1.002.3", b"1.2.3\0"];
    vec![Case::new(
        "case_72_unusable_instance_uids_are_answered_0117_and_odd_ones_accepted",
        bad.iter()
            .map(|bad| Talk::answered(0x0117, "SOP instance UID", named(bad)))
            .chain(odd.iter().map(|odd| Talk::stored(named(odd)))),
    )]
}
