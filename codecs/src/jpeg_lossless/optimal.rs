//! The shortest Huffman code for given frequencies (Annex K.2).

use super::huffman::{CATEGORIES, Code, LONGEST};

/// How often each category occurs.
pub(super) type Frequencies = [u64; CATEGORIES];

/// Makes the code. One word more, the longest, is made and then left out, so that no code is all ones.
pub(super) fn optimal(frequencies: &Frequencies) -> Code {
    let mut words = words(frequencies);
    // The shortest first, and among equals the smallest category (Figure K.4); the reserved one is the last of all.
    words.sort_unstable();
    let counts = counts(&words);
    words.pop();
    Code::new(counts, words.into_iter().map(|(_, category)| category).collect())
}

/// The word that becomes no code. As the largest it comes last among words of one length.
const RESERVED: u8 = u8::MAX;

/// Length and category.
type Word = (usize, u8);

/// The words that Huffman's procedure gives (Figure K.1), the reserved one included.
fn words(frequencies: &Frequencies) -> Vec<Word> {
    let occurring = (0_u8..).zip(frequencies).filter(|(_, weight)| **weight > 0);
    let mut groups: Vec<(u64, Vec<Word>)> =
        occurring.map(|(category, &weight)| (weight, vec![(0, category)])).collect();
    groups.push((1, vec![(0, RESERVED)]));
    while groups.len() > 1 {
        // The two lightest become one. The reserved word goes first among equals: so none becomes longer.
        let reserved = |words: &[Word]| words.iter().any(|&(_, category)| category == RESERVED);
        groups.sort_by_key(|(weight, words)| (std::cmp::Reverse(*weight), reserved(words)));
        let lightest = groups.pop().into_iter().chain(groups.pop());
        let merged = lightest.fold((0_u64, Vec::new()), |(sum, mut all), (weight, words)| {
            all.extend(words.into_iter().map(|(length, category)| (length + 1, category)));
            (sum.saturating_add(weight), all)
        });
        groups.push(merged);
    }
    groups.pop().map(|(_, words)| words).unwrap_or_default()
}

/// Words of each length, none longer than 16 (Figure K.3), without the reserved one.
fn counts(words: &[Word]) -> [u8; LONGEST] {
    // Eighteen words have at most 17 bits. By index: words of that length.
    let mut counts = [0_u8; LONGEST + 2];
    for &(length, _) in words {
        counts[length] += 1;
    }
    while counts[LONGEST + 1] > 0 {
        // Two words that are too long lose a bit in common: one stays there, the other goes beside a shorter word.
        let shorter = (1..LONGEST).rev().find(|&length| counts[length] > 0).unwrap_or(1);
        counts[LONGEST + 1] -= 2;
        counts[LONGEST] += 1;
        counts[shorter + 1] += 2;
        counts[shorter] -= 1;
    }
    let longest = (1..=LONGEST).rev().find(|&length| counts[length] > 0).unwrap_or(1);
    counts[longest] = counts[longest].saturating_sub(1);
    std::array::from_fn(|shorter| counts[shorter + 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(frequencies: &[u64]) -> Vec<(u8, u8)> {
        let mut all = [0; CATEGORIES];
        all[..frequencies.len()].copy_from_slice(frequencies);
        optimal(&all).words().map(|word| (word.category, word.length)).collect()
    }

    #[test]
    fn one_category_has_a_code_of_one_bit() {
        assert_eq!(lengths(&[0, 0, 7]), [(2, 1)]);
    }

    #[test]
    fn frequent_categories_have_short_codes() {
        assert_eq!(lengths(&[2, 4, 90, 8, 16]), [(2, 1), (4, 2), (3, 3), (1, 4), (0, 5)]);
    }

    #[test]
    fn no_code_is_all_ones_and_none_is_longer_than_16_bits() {
        let mut fibonacci = [1_u64; CATEGORIES];
        for n in 2..CATEGORIES {
            fibonacci[n] = fibonacci[n - 1] + fibonacci[n - 2];
        }
        for frequencies in [fibonacci, [1; CATEGORIES], std::array::from_fn(|n| 1 << (3 * n))] {
            let code = optimal(&frequencies);
            let words: Vec<_> = code.words().collect();
            assert_eq!(words.len(), CATEGORIES);
            for word in &words {
                assert!(word.length <= 16, "{word:?}");
                assert_ne!(u32::from(word.bits), (1 << word.length) - 1, "{word:?} is all ones");
            }
            let space: u32 = words.iter().map(|word| 1 << (16 - word.length)).sum();
            assert!(space < 1 << 16, "{frequencies:?}: a prefix code");
        }
    }

    #[test]
    fn the_reserved_word_is_the_longest_even_among_equals() {
        for frequencies in [&[1_u64, 1, 1, 2][..], &[1, 1, 1, 1], &[2, 1, 1, 1, 2, 2, 3]] {
            for (category, length) in lengths(frequencies) {
                assert!(length <= 4, "category {category} has {length} bits");
            }
        }
    }
}
