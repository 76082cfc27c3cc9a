"""What `hrnn validate` is made of.

quotes        where records end, with quoted line ends and `\\"` escapes, at numpy speed
reading       bytes of a plain or gzipped file as blocks of whole records with line numbers
inputs        the files, their headers, their splits
fields        what a field of the schema asks of its values
cells         one column's cells: text to type, with every wrong cell found
strings       the rules for ids, lists and texts, once for each distinct value
numerals      text to numbers, moments and truth values
parts         the work of one Spark task: read splits, check, write accepted and rejected rows
report        what people read: report.json, rejected.csv
expectations  the same promises, checked again by Great Expectations on what was written
page          its Data Docs as one page that needs no network
"""
