MODEL (name chain.stg_flights, kind INCREMENTAL_BY_TIME_RANGE (time_column date), end '{LAST}');

SELECT
  make_date(year::INT, month::INT, day::INT) AS date,
  origin,
  carrier,
  flight::BIGINT AS flight,
  nullif(tailnum, 'NA') AS tailnum,
  nullif(dep_delay, 'NA')::BIGINT AS dep_delay_min,
  nullif(air_time, 'NA')::BIGINT AS air_time_min
FROM (
  SELECT * FROM chain.raw_flights_ewr WHERE date BETWEEN @start_date AND @end_date
  UNION ALL
  SELECT * FROM chain.raw_flights_jfk WHERE date BETWEEN @start_date AND @end_date
  UNION ALL
  SELECT * FROM chain.raw_flights_lga WHERE date BETWEEN @start_date AND @end_date
) AS raw
