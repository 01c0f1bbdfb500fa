MODEL (name chain.raw_flights_ewr, kind INCREMENTAL_BY_TIME_RANGE (time_column date), end '{LAST}');

-- The filter on the file's name is pushed down: files of other days are not opened.
SELECT
  year, month, day, dep_time, sched_dep_time, dep_delay, arr_time, sched_arr_time, arr_delay, carrier, flight, tailnum,
  origin, dest, air_time, distance, hour, minute, time_hour,
  strptime(regexp_extract(filename, '(\d{4}-\d{2}-\d{2})\.csv$', 1), '%Y-%m-%d')::DATE AS date
FROM read_csv('landing/flights_ewr/flights_ewr_*.csv', filename = TRUE, all_varchar = TRUE, header = TRUE, delim = ',')
WHERE regexp_extract(filename, '(\d{4}-\d{2}-\d{2})\.csv$', 1) BETWEEN @start_ds AND @end_ds
