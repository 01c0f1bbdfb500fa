MODEL (name chain.mart_daily, kind INCREMENTAL_BY_TIME_RANGE (time_column date), end '{LAST}');

SELECT
  date,
  carrier,
  count(*)::BIGINT AS flights,
  count(*) FILTER (WHERE dep_delay_min >= 15)::BIGINT AS delayed,
  coalesce(sum(seats), 0)::BIGINT AS seats
FROM chain.int_flights_planes
WHERE date BETWEEN @start_date AND @end_date
GROUP BY date, carrier
