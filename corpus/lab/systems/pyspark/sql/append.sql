INSERT INTO well_day SELECT * FROM valued
