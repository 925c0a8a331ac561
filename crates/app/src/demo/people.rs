//! Made-up contacts for rehearsals: the same seed gives the same file.
//!
//! Names in ten scripts; domains of the simulated world, most of which accept and each of whose behaviours is
//! there at least once.

use std::io::Write;

/// First names in ten scripts, so that every demo shows that names survive the road.
const NAMES: &[&str] = &[
    "Giulia",
    "Łukasz",
    "Zoë",
    "Αλεξάνδρα",
    "Дмитрий",
    "محمد",
    "שרה",
    "अनन्या",
    "สมชาย",
    "美咲",
    "지훈",
    "João",
    "Nkechi",
    "Þóra",
    "Ana-Marija",
    "Renée",
    "François",
    "Søren",
    "Jiří",
    "Ўзбек",
];

const CITIES: &[&str] =
    &["Milano", "Kraków", "Lyon", "Pavia", "Gdańsk", "Porto", "Αθήνα", "Львів", "東京", "Reykjavík"];

/// The domains that do something else than accept, with their share in thousandths of the contacts.
const TROUBLE: &[(&str, u32)] = &[
    ("greylist.test", 15),
    ("defer2.test", 15),
    ("unknown.test", 15),
    ("full.test", 8),
    ("block-connect.test", 4),
    ("block-mail.test", 4),
    ("block-data.test", 4),
    ("never.test", 4),
    ("drop-data.test", 4),
    ("slow.test", 4),
    ("defer.test", 4),
];

/// A small generator of our own (splitmix64): quick, seeded, and good enough for made-up names.
pub struct Dice(u64);

impl Dice {
    /// Starts from a seed.
    pub const fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// The next 64 bits.
    pub const fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of a slice.
    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[(self.roll() % words.len() as u64) as usize]
    }
}

/// The domain of contact number `n` of `of`.
fn domain(n: u32, of: u32, dice: &mut Dice) -> String {
    // The first rows show each behaviour once, however few contacts there are; the others by their share.
    if let Some((name, _)) = TROUBLE.get(n as usize) {
        return (*name).to_owned();
    }
    let mut at = (u64::from(n) * 1_000 / u64::from(of.max(1)) + dice.roll() % 1_000) as u32 % 1_000;
    for (name, share) in TROUBLE {
        if at < *share {
            return (*name).to_owned();
        }
        at -= share;
    }
    format!("mail{}.test", 1 + dice.roll() % 20)
}

/// Writes a CSV of `count` contacts from number `first` on.
pub fn write_csv(out: &mut impl Write, first: u32, count: u32, seed: u64) -> std::io::Result<()> {
    let mut dice = Dice::new(seed ^ u64::from(first));
    writeln!(out, "E-mail;First name;City;Joined;Note")?;
    for n in 0..count {
        let domain = domain(n, count, &mut dice);
        let name = dice.pick(NAMES);
        let city = dice.pick(CITIES);
        let joined = 2012 + dice.roll() % 14;
        // Every fiftieth note has a line break inside quotes, as exports of spreadsheets do.
        let note = if n % 50 == 7 { "\"likes tea; and\"\" biscuits\"\"\"" } else { "" };
        writeln!(out, "person{}@{domain};{name};{city};{joined};{note}", first + n)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_people_and_every_behaviour_is_there() {
        let csv = |seed| {
            let mut out = Vec::new();
            write_csv(&mut out, 0, 200, seed).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(csv(1), csv(1));
        assert_ne!(csv(1), csv(2));
        assert_eq!(csv(1).lines().count(), 201);
        for (name, _) in TROUBLE {
            assert!(csv(1).contains(&format!("@{name};")), "{name}");
        }
    }
}
