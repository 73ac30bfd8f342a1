//! An encoder that is as simple as can be, for everything that ours does not write: predictors, point transforms, restarts,
//! several tables and scans. It shares nothing with ours.

/// What to write.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) rows: u16,
    pub(crate) columns: u16,
    pub(crate) components: usize,
    pub(crate) precision: u8,
    pub(crate) predictor: u8,
    pub(crate) point_transform: u8,
    /// Rows between restarts; 0 for none.
    pub(crate) restart_rows: u16,
    /// A scan for each component instead of one for all.
    pub(crate) separate: bool,
    /// A table for each component instead of one for all.
    pub(crate) own_tables: bool,
}

impl Plan {
    /// The stream of these samples, which lie side by side.
    pub(crate) fn encode(&self, samples: &[u16]) -> Vec<u8> {
        let count = self.components as u8;
        let mut out = vec![0xFF, 0xD8, 0xFF, 0xC3, 0, 8 + 3 * count, self.precision];
        out.extend(self.rows.to_be_bytes());
        out.extend(self.columns.to_be_bytes());
        out.push(count);
        (0..count).for_each(|id| out.extend([id + 7, 0x11, 0]));
        for table in 0..if self.own_tables { count } else { 1 } {
            out.extend([0xFF, 0xC4, 0, 19 + 17, table]);
            // Fifteen codes of 5 bits and two of 6 for all categories, beginning with another one in each table.
            let mut counts = [0; 16];
            (counts[4], counts[5]) = (15, 2);
            out.extend(counts);
            out.extend((0..17).map(|n| (n + table) % 17));
        }
        if self.restart_rows > 0 {
            out.extend([0xFF, 0xDD, 0, 4]);
            out.extend((self.restart_rows * self.columns).to_be_bytes());
        }
        let all: Vec<usize> = (0..self.components).collect();
        let scans: Vec<&[usize]> = if self.separate { all.chunks(1).collect() } else { vec![&all[..]] };
        for scan in scans {
            out.extend([0xFF, 0xDA, 0, 6 + 2 * scan.len() as u8, scan.len() as u8]);
            for &component in scan {
                out.extend([component as u8 + 7, self.table(component) << 4]);
            }
            out.extend([self.predictor, 0, self.point_transform]);
            self.scan(scan, samples, &mut out);
        }
        out.extend([0xFF, 0xD9]);
        out
    }

    fn table(&self, component: usize) -> u8 {
        if self.own_tables { component as u8 } else { 0 }
    }

    fn scan(&self, scan: &[usize], samples: &[u16], out: &mut Vec<u8>) {
        let mut bits = String::new();
        for y in 0..self.rows {
            let fresh = y == 0 || self.restart_rows > 0 && y.is_multiple_of(self.restart_rows);
            if fresh && y > 0 {
                flush(&mut bits, out);
                out.extend([0xFF, 0xD0 + ((y / self.restart_rows - 1) % 8) as u8]);
            }
            for x in 0..self.columns {
                for &component in scan {
                    let at = |x: u16, y: u16| {
                        let pixel = usize::from(y) * usize::from(self.columns) + usize::from(x);
                        i32::from(samples[pixel * self.components + component] >> self.point_transform)
                    };
                    let prediction = match (x, fresh) {
                        (0, true) => 1 << (self.precision - self.point_transform - 1),
                        (_, true) => at(x - 1, y),
                        (0, false) => at(x, y - 1),
                        _ => {
                            let (a, b, c) = (at(x - 1, y), at(x, y - 1), at(x - 1, y - 1));
                            [a, b, c, a + b - c, a + ((b - c) >> 1), b + ((a - c) >> 1), (a + b) >> 1]
                                [usize::from(self.predictor) - 1]
                        }
                    };
                    let difference = (at(x, y) - prediction) as i16;
                    self.difference(difference.into(), self.table(component), &mut bits);
                }
            }
        }
        flush(&mut bits, out);
    }

    fn difference(&self, difference: i32, table: u8, bits: &mut String) {
        let category = (0..=16).find(|category| difference.abs() < 1 << category).expect("a category");
        let place = (category + 17 - usize::from(table)) % 17;
        *bits += &if place < 15 { format!("{place:05b}") } else { format!("{:06b}", 30 + place - 15) };
        if (1..16).contains(&category) {
            let value = if difference < 0 { difference + (1 << category) - 1 } else { difference };
            *bits += &format!("{value:0category$b}");
        }
    }
}

fn flush(bits: &mut String, out: &mut Vec<u8>) {
    while !bits.len().is_multiple_of(8) {
        bits.push('1');
    }
    for byte in bits.as_bytes().chunks(8) {
        let byte = byte.iter().fold(0, |byte, bit| byte << 1 | (bit - b'0'));
        out.push(byte);
        if byte == 0xFF {
            out.push(0);
        }
    }
    bits.clear();
}
