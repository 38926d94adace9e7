//! The recipe of `docs/entries.md` for effects in a database, word for word, on a real SQLite.

use rusqlite::{Connection, named_params};

/// The statements of the recipe: the table, the fence, the effect.
fn recipe() -> [String; 3] {
    let page = include_str!("../../../docs/entries.md");
    let block = page.split("```sql").nth(1).and_then(|rest| rest.split("```").next()).expect("the page has the recipe");
    let lines: Vec<&str> = block.lines().filter(|line| !line.starts_with("--")).collect();
    let statements: Vec<String> = lines.join("\n").split(';').map(|text| text.trim().to_owned()).collect();
    let begins = |word: &str| statements.iter().find(|text| text.starts_with(word)).expect("a statement").clone();
    [begins("CREATE TABLE fences"), begins("INSERT INTO fences"), begins("UPDATE accounts")]
}

struct Bank {
    database: Connection,
    fence: String,
    effect: String,
}

impl Bank {
    fn open() -> Bank {
        let [table, fence, effect] = recipe();
        let database = Connection::open_in_memory().unwrap();
        database.execute(&table, []).unwrap();
        database
            .execute_batch("CREATE TABLE accounts (name TEXT, cents BIGINT); INSERT INTO accounts VALUES ('anna', 0)")
            .unwrap();
        Bank { database, fence, effect }
    }

    /// An owner with this token works on this entry; `false`: it was done before, or by a later owner. `crash`: its
    /// process dies before the transaction is committed.
    fn pay(&mut self, token: i64, (ms, seq): (i64, i64), cents: i64, crash: bool) -> bool {
        let transaction = self.database.transaction().unwrap();
        let fence = named_params! { ":stream": "s", ":token": token, ":ms": ms, ":seq": seq };
        if transaction.execute(&self.fence, fence).unwrap() == 0 {
            return false;
        }
        let changed = transaction.execute(&self.effect, named_params! { ":cents": cents, ":account": "anna" }).unwrap();
        assert_eq!(changed, 1);
        if !crash {
            transaction.commit().unwrap();
        }
        !crash
    }

    fn balance(&self) -> i64 {
        self.database.query_row("SELECT cents FROM accounts", [], |row| row.get(0)).unwrap()
    }
}

#[test]
fn a_repeat_has_no_effect() {
    let mut bank = Bank::open();
    assert!(bank.pay(5, (9, 0), 100, false));
    assert!(!bank.pay(5, (9, 0), 100, false), "the commit was lost, the entry came again");
    assert!(!bank.pay(6, (9, 0), 100, false), "the next owner begins there, too");
    assert!(bank.pay(6, (10, 0), 10, false), "10-0 is behind 9-0, unlike the texts");
    assert_eq!(bank.balance(), 110);
}

#[test]
fn a_late_owner_has_no_effect() {
    let mut bank = Bank::open();
    assert!(bank.pay(5, (1, 0), 100, false));
    assert!(bank.pay(6, (1, 1), 10, false));
    assert!(!bank.pay(5, (1, 2), 1, false), "its token is smaller than the last");
    assert!(bank.pay(6, (1, 2), 1, false));
    assert_eq!(bank.balance(), 111);
}

#[test]
fn a_crash_in_the_middle_leaves_nothing() {
    let mut bank = Bank::open();
    assert!(!bank.pay(5, (1, 0), 100, true));
    assert_eq!(bank.balance(), 0);
    assert!(bank.pay(6, (1, 0), 100, false));
    assert_eq!(bank.balance(), 100);
}

proptest::proptest! {
    /// Owners come and go, each works on from where the last commit says, late ones in between: every entry has its
    /// effect once.
    #[test]
    fn whatever_is_tried_each_entry_counts_once(tries in proptest::collection::vec((0..4_i64, 0..20_i64, 0..3_u8), 0..200)) {
        let mut bank = Bank::open();
        let mut newest = 0;
        let mut paid = std::collections::BTreeSet::new();
        let id = |entry: i64| (entry / 4, entry % 4);
        for (age, entry, fate) in tries {
            newest += i64::from(fate == 1);
            if bank.pay(newest - age, id(entry), 1 << entry, fate == 2) {
                proptest::prop_assert!(paid.insert(entry), "{entry} counts twice");
            }
        }
        // In order at last, by the newest owner.
        let last = paid.last().copied();
        for entry in 0..20_i64 {
            proptest::prop_assert_eq!(bank.pay(newest, id(entry), 1 << entry, false), Some(entry) > last);
            paid.extend((Some(entry) > last).then_some(entry));
        }
        proptest::prop_assert_eq!(bank.balance(), paid.iter().map(|entry| 1 << entry).sum::<i64>());
    }
}
