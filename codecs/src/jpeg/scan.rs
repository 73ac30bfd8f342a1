//! One scan: from entropy-coded data to blocks (ISO 10918-1 B.2.3, Annexes F and G).

use super::bits::Bits;
use super::error::DecodeError;
use super::header::Tables;
use super::huffman::Huffman;
use super::plane::{Coefficients, Plane};
use super::segments::Segment;

/// The scan header, SOS.
pub(super) struct Scan {
    members: Vec<Member>,
    progress: Progress,
}

/// Which component, with which Huffman tables.
#[derive(Clone, Copy)]
struct Member {
    plane: usize,
    dc: usize,
    ac: usize,
}

/// Which coefficients and which of their bits a progressive scan has; all of them in a sequential one (G.1.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Progress {
    start: usize,
    end: usize,
    /// Bits that earlier scans had, as the number of the lowest; 0 for a first scan.
    high: u32,
    /// The lowest bit of this scan.
    low: u32,
}

impl Scan {
    /// Reads the header. In a sequential frame the last three bytes mean nothing, and are often wrong.
    pub(super) fn read(
        segment: &Segment<'_>,
        planes: &[Plane],
        progressive: bool,
    ) -> Result<Self, DecodeError> {
        let short = || segment.wrong("it is too short for its components");
        let (&count, rest) = segment.body.split_first().ok_or_else(short)?;
        let (selectors, rest) = rest.split_at_checked(usize::from(count) * 2).ok_or_else(short)?;
        if !(1..=3).contains(&count) {
            return Err(segment.wrong("it has another number of components than one to three"));
        }
        let mut members: Vec<Member> = Vec::with_capacity(usize::from(count));
        for &[id, tables] in selectors.as_chunks::<2>().0 {
            let unused = |index: &usize| !members.iter().any(|member| member.plane == *index);
            // Some streams give the same id to all components: then their order says which is meant.
            let named =
                (0..).zip(planes).filter(|(_, plane)| plane.component.id == id).map(|(index, _)| index);
            let plane = named.into_iter().find(unused);
            let plane = plane
                .ok_or_else(|| segment.wrong("a component is not in the frame, or twice in the scan"))?;
            let (dc, ac) = (usize::from(tables >> 4), usize::from(tables & 15));
            members.push(Member { plane, dc, ac });
        }
        let progress = match rest {
            [start, end, bits, ..] if progressive => Progress {
                start: usize::from(*start),
                end: usize::from(*end),
                high: u32::from(bits >> 4),
                low: u32::from(bits & 15),
            },
            [_, _, _, ..] => Progress { start: 0, end: 63, high: 0, low: 0 },
            _ => return Err(short()),
        };
        if progressive && !progress.is_possible(members.len()) {
            return Err(segment.wrong("its progression is not possible"));
        }
        Ok(Self { members, progress })
    }

    /// Decodes the data that start `bytes`, which lie at `start` in the stream. Returns where they end.
    pub(super) fn decode(
        &self,
        segment: &Segment<'_>,
        tables: &Tables,
        planes: &mut [Plane],
        (bytes, start): (&[u8], usize),
        progressive: bool,
    ) -> Result<usize, DecodeError> {
        let coders = self.coders(segment, tables, planes, progressive)?;
        let mut run =
            Run { bits: Bits::new(bytes, start), dc: [0; 3], end_of_band: 0, progress: self.progress };
        let interval = u32::from(tables.restart_interval);
        let mut mcus = 0_u32;
        let mut step = |run: &mut Run<'_>| {
            if interval > 0 && mcus > 0 && mcus.is_multiple_of(interval) {
                run.bits.restart(mcus / interval - 1)?;
                (run.dc, run.end_of_band) = ([0; 3], 0);
            }
            mcus += 1;
            Ok(())
        };
        if let [(member, coder)] = coders.as_slice() {
            // One component: its blocks row by row, only those that have samples (A.2.2).
            let Some(plane) = planes.get_mut(member.plane) else { return Ok(start) };
            let (across, down) = plane.blocks();
            for (y, x) in (0..down).flat_map(|y| (0..across).map(move |x| (y, x))) {
                step(&mut run)?;
                run.block(plane, (x, y), 0, coder)?;
            }
            return Ok(run.bits.finish());
        }
        let (across, down) = planes.first().map_or((0, 0), Plane::mcus);
        for (y, x) in (0..down).flat_map(|y| (0..across).map(move |x| (y, x))) {
            step(&mut run)?;
            for (index, (member, coder)) in coders.iter().enumerate() {
                let Some(plane) = planes.get_mut(member.plane) else { continue };
                let (h, v) = (plane.component.horizontal, plane.component.vertical);
                for (inner_y, inner_x) in (0..v).flat_map(|y| (0..h).map(move |x| (y, x))) {
                    run.block(plane, (x * h + inner_x, y * v + inner_y), index, coder)?;
                }
            }
        }
        Ok(run.bits.finish())
    }

    /// The tables that each component needs; those that this kind of scan does not use may be missing.
    fn coders<'t>(
        &self,
        segment: &Segment<'_>,
        tables: &'t Tables,
        planes: &mut [Plane],
        progressive: bool,
    ) -> Result<Vec<(Member, Coder<'t>)>, DecodeError> {
        let missing = || segment.wrong("it uses a Huffman table that is not there");
        let mut coders = Vec::with_capacity(self.members.len());
        for member in &self.members {
            let plane = planes.get_mut(member.plane).ok_or_else(missing)?;
            let quantization = tables.quantization.get(plane.component.table).copied().flatten();
            let none = || segment.wrong("it uses a quantization table that is not there");
            if !progressive && plane.is_started() {
                return Err(segment.wrong("a component was in an earlier scan"));
            }
            plane.latch(quantization.ok_or_else(none)?);
            let dc = tables.dc.get(member.dc).and_then(Option::as_ref);
            let ac = tables.ac.get(member.ac).and_then(Option::as_ref);
            let coder = match (progressive, self.progress) {
                (false, _) => Coder::Sequential { dc: dc.ok_or_else(missing)?, ac: ac.ok_or_else(missing)? },
                (true, Progress { start: 0, high: 0, .. }) => Coder::DcFirst { dc: dc.ok_or_else(missing)? },
                (true, Progress { start: 0, .. }) => Coder::DcRefine,
                (true, Progress { high: 0, .. }) => Coder::AcFirst { ac: ac.ok_or_else(missing)? },
                (true, _) => Coder::AcRefine { ac: ac.ok_or_else(missing)? },
            };
            coders.push((*member, coder));
        }
        Ok(coders)
    }
}

impl Progress {
    fn is_possible(self, components: usize) -> bool {
        let band = match self.start {
            0 => self.end == 0,
            1..=63 => components == 1 && (self.start..=63).contains(&self.end),
            _ => false,
        };
        band && self.low <= 13 && (self.high == 0 || self.high == self.low + 1)
    }
}

/// How the blocks of a component are coded in a scan.
enum Coder<'t> {
    Sequential { dc: &'t Huffman, ac: &'t Huffman },
    DcFirst { dc: &'t Huffman },
    DcRefine,
    AcFirst { ac: &'t Huffman },
    AcRefine { ac: &'t Huffman },
}

/// What goes on from block to block.
struct Run<'a> {
    bits: Bits<'a>,
    /// By component of the scan: the first coefficient of the block before.
    dc: [i32; 3],
    /// Blocks that have nothing more in this band (G.1.2.2).
    end_of_band: u32,
    progress: Progress,
}

impl Run<'_> {
    #[inline(always)]
    fn block(
        &mut self,
        plane: &mut Plane,
        (x, y): (usize, usize),
        index: usize,
        coder: &Coder<'_>,
    ) -> Result<(), DecodeError> {
        if let Coder::Sequential { dc, ac } = coder {
            let mut block = [0; 64];
            let last = self.sequential(&mut block, index, dc, ac)?;
            plane.draw(x, y, &block, last);
            return Ok(());
        }
        let Some(block) = plane.coefficients(x, y) else { return Ok(()) };
        match coder {
            Coder::Sequential { .. } => Ok(()),
            Coder::DcFirst { dc } => {
                let value = self.dc(index, dc)?;
                put(block, 0, value << self.progress.low);
                Ok(())
            }
            Coder::DcRefine => {
                let bit = self.bits.number(1)? << self.progress.low;
                if let Some(dc) = block.first_mut() {
                    *dc |= bit as i16;
                }
                Ok(())
            }
            Coder::AcFirst { ac } => self.ac_first(block, ac),
            Coder::AcRefine { ac } => self.ac_refine(block, ac),
        }
    }

    /// A whole block (F.2.2). Returns the number of the last coefficient that was coded.
    #[inline(always)]
    fn sequential(
        &mut self,
        block: &mut Coefficients,
        index: usize,
        dc: &Huffman,
        ac: &Huffman,
    ) -> Result<usize, DecodeError> {
        let value = self.dc(index, dc)?;
        put(block, 0, value);
        let mut last = 0;
        let mut next = 1;
        while next < 64 {
            let symbol = self.bits.symbol(ac)?;
            let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
            match (run, size) {
                (15, 0) => next += 16,
                (_, 0) => break,
                _ => {
                    last = next + run;
                    if last > 63 {
                        return Err(self.bits.wrong("a block has more than 64 coefficients"));
                    }
                    put(block, last, self.bits.signed(size)?);
                    next = last + 1;
                }
            }
        }
        Ok(last)
    }

    #[inline(always)]
    fn dc(&mut self, index: usize, table: &Huffman) -> Result<i32, DecodeError> {
        let size = self.bits.symbol(table)?;
        if size > 15 {
            return Err(self.bits.wrong("a difference of more than 15 bits"));
        }
        let difference = self.bits.signed(u32::from(size))?;
        let Some(before) = self.dc.get_mut(index) else { return Ok(0) };
        *before = before.wrapping_add(difference);
        Ok(*before)
    }

    /// The first bits of a band (G.1.2.2, decoded as figure G.3 codes it).
    fn ac_first(&mut self, block: &mut Coefficients, ac: &Huffman) -> Result<(), DecodeError> {
        if self.end_of_band > 0 {
            self.end_of_band -= 1;
            return Ok(());
        }
        let mut next = self.progress.start;
        while next <= self.progress.end {
            let symbol = self.bits.symbol(ac)?;
            let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
            match (run, size) {
                (15, 0) => next += 16,
                (_, 0) => {
                    self.end_of_band = (1 << run) - 1 + self.bits.number(run)?;
                    break;
                }
                _ => {
                    next += run as usize;
                    if next > self.progress.end {
                        return Err(self.bits.wrong("a coefficient beyond the band of its scan"));
                    }
                    put(block, next, self.bits.signed(size)? << self.progress.low);
                    next += 1;
                }
            }
        }
        Ok(())
    }

    /// One more bit of a band: of each coefficient that is not zero, and perhaps new ones between them (G.1.2.3).
    fn ac_refine(&mut self, block: &mut Coefficients, ac: &Huffman) -> Result<(), DecodeError> {
        let mut next = self.progress.start;
        let step = 1_i16 << self.progress.low;
        while self.end_of_band == 0 && next <= self.progress.end {
            let symbol = self.bits.symbol(ac)?;
            let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
            let value = match (run, size) {
                (_, 1) => {
                    if self.bits.number(1)? == 1 {
                        step
                    } else {
                        -step
                    }
                }
                (15, 0) => 0,
                (_, 0) => {
                    self.end_of_band = (1 << run) + self.bits.number(run)?;
                    break;
                }
                _ => return Err(self.bits.wrong("a refined coefficient of more than one bit")),
            };
            next = self.refine(block, next, step, run)?;
            if value != 0 {
                let place = block.get_mut(next).filter(|_| next <= self.progress.end);
                let Some(place) = place else {
                    return Err(self.bits.wrong("a coefficient beyond the band of its scan"));
                };
                *place = value;
            }
            next += 1;
        }
        if self.end_of_band > 0 {
            self.refine(block, next, step, u32::MAX)?;
            self.end_of_band -= 1;
        }
        Ok(())
    }

    /// Refines from `next` on until `zeros` coefficients that are zero were passed, and returns where the next zero is.
    fn refine(
        &mut self,
        block: &mut Coefficients,
        next: usize,
        step: i16,
        mut zeros: u32,
    ) -> Result<usize, DecodeError> {
        let band = block.iter_mut().enumerate().take(self.progress.end + 1).skip(next);
        for (index, value) in band {
            if *value == 0 {
                if zeros == 0 {
                    return Ok(index);
                }
                zeros -= 1;
            } else if self.bits.number(1)? == 1 && *value & step == 0 {
                *value = value.wrapping_add(if *value > 0 { step } else { -step });
            }
        }
        Ok(self.progress.end + 1)
    }
}

#[inline(always)]
fn put(block: &mut Coefficients, index: usize, value: i32) {
    if let Some(place) = block.get_mut(index) {
        *place = value as i16;
    }
}
