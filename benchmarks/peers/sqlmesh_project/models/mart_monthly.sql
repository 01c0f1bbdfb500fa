MODEL (
  name chain.mart_monthly, kind INCREMENTAL_BY_TIME_RANGE (time_column month), cron '@monthly', end '{LAST_OF_MONTHS}'
);

SELECT
  date_trunc('month', date)::DATE AS month,
  carrier,
  sum(flights)::BIGINT AS flights,
  sum(delayed)::BIGINT AS delayed,
  sum(seats)::BIGINT AS seats
FROM chain.mart_daily
WHERE date BETWEEN @start_date AND @end_date
GROUP BY 1, 2
