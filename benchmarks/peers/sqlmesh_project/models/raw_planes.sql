MODEL (name chain.raw_planes, kind FULL);

SELECT tailnum, year, type, manufacturer, model, engines, seats, speed, engine
FROM read_csv('landing/planes/planes.csv', all_varchar = TRUE, header = TRUE, delim = ',')
