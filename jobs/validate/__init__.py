"""What `hrnn validate` is made of.

quotes        where records end, with quoted line ends and `\\"` escapes, at numpy speed
reading       bytes of a plain or gzipped file as blocks of whole records with line numbers
inputs        the files, their headers, their splits; header_remedies: what to do about a wrong header
fields        what a field of the schema asks of its values
cells         one column's cells: text to type, with a reason for every wrong cell
strings       the rules for ids, lists and texts, once for each distinct value
numerals      text to numbers, moments and truth values
splits        files cut into byte ranges of whole records
rows          a block of records: typed rows, and every wrong row with its place
statistics    what columns hold, in figures that add up

plan          what every task of an import must know
parts         the work of one Spark task: check splits, write accepted and rejected rows, send messages to the receivers
keys          those messages: a receiver gets the keys of its partition's rows, hashes in place of values
receiving     what receivers do: find duplicates, count what users and items did
clocks        which events have times that cannot be true beside all others'; what one cell may say: fields, numerals
duplicates    which rows are there twice; figures: what users and items did
gathering     all answers as one document; outcome: the import up to its publication
imports       FULL and INCREMENTAL, and other datasets to compare with
running       one import from its files to its manifest

insight       what a finding is, and what a row of the table is (insights; insight_measures and drift measure, by outliers
              and stability)
measures      the written files, measured; expectations: the schema's suite on them; suites: how suites are run
own_expectations  suites that users bring; own_sql: what their SQL may say
page          Data Docs as one page that needs no network
report        report.json and rejected.csv; problems: why an import fails then
"""
