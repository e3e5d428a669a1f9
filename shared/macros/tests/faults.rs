//! What the compiler says of a block that cannot be an object's. `TRYBUILD=overwrite` writes it anew.

#[test]
fn faults_are_told_where_they_are() {
    trybuild::TestCases::new().compile_fail("tests/faults/*.rs");
}
