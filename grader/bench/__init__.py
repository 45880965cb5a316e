"""How fast the reference's log is, beside a raw loop, LevelDB and SQLite: python3 -m grader.bench"""
