import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.Session;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.ActiveMQMessageConsumer;

/** Which of several consumers of a queue gets a message. */
final class Consumers extends JmsTest {
    @Test
    void consumers_get_messages_in_turn() throws Exception {
        Session session = auto(connect());
        List<MessageConsumer> consumers = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            consumers.add(session.createConsumer(queue()));
        }
        sendNumbers(session, queue(), 30);
        for (int i = 0; i < 30; i++) {
            equal("" + i, takeText(consumers.get(i % 3)), "turn");
        }
    }

    @Test
    void consumers_of_several_connections_share_the_work_without_loss_or_doubles() throws Exception {
        int count = 2000;
        CountDownLatch all = new CountDownLatch(count);
        java.util.Set<String> seen = java.util.concurrent.ConcurrentHashMap.newKeySet();
        for (int i = 0; i < 4; i++) {
            auto(connect()).createConsumer(queue()).setMessageListener(message -> {
                try {
                    check(seen.add(((javax.jms.TextMessage) message).getText()), "twice");
                } catch (Exception e) {
                    throw new RuntimeException(e);
                }
                all.countDown();
            });
        }
        sendNumbers(auto(connect()), queue(), count);
        check(all.await(SOON, TimeUnit.MILLISECONDS), all.getCount() + " missing");
        equal(count, seen.size());
    }

    @Test
    void a_consumer_that_is_full_is_passed_over() throws Exception {
        ActiveMQConnection connection = connect("jms.prefetchPolicy.all=1");
        MessageConsumer idle = client(connection).createConsumer(queue());
        MessageConsumer busy = auto(connect("jms.prefetchPolicy.all=100")).createConsumer(queue());
        sendNumbers(auto(connect()), queue(), 10);
        List<String> got = takeTexts(busy, 9);
        nothing(busy);
        got.add(takeText(idle));
        got.sort(java.util.Comparator.comparingInt(Integer::parseInt));
        equal(numbers(0, 10), got);
    }

    @Test
    void what_a_closed_consumer_held_goes_to_the_other() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        MessageConsumer first = session.createConsumer(queue());
        sendNumbers(session, queue(), 10);
        eventually("all are prefetched", () -> ((ActiveMQMessageConsumer) first).getMessageSize() == 10);
        MessageConsumer second = auto(connect()).createConsumer(queue());
        nothing(second);
        first.close();
        equal(numbers(0, 10), takeTexts(second, 10));
    }

    @Test
    void an_exclusive_consumer_gets_everything() throws Exception {
        Session session = auto(connect());
        MessageConsumer plain = session.createConsumer(queue());
        MessageConsumer exclusive = auto(connect()).createConsumer(option(queue(), "consumer.exclusive=true"));
        sendNumbers(session, queue(), 20);
        equal(numbers(0, 20), takeTexts(exclusive, 20));
        nothing(plain);
    }

    @Test
    void the_next_exclusive_consumer_takes_over_when_the_first_closes() throws Exception {
        Session session = auto(connect());
        MessageConsumer first = session.createConsumer(option(queue(), "consumer.exclusive=true"));
        MessageConsumer second = auto(connect()).createConsumer(option(queue(), "consumer.exclusive=true"));
        send(session, queue(), "one");
        equal("one", takeText(first));
        nothing(second);
        first.close();
        send(session, queue(), "two");
        equal("two", takeText(second));
    }

    @Test
    void an_exclusive_consumer_hands_over_what_it_had_not_acknowledged_in_order() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = client(connection);
        MessageConsumer first = session.createConsumer(option(queue(), "consumer.exclusive=true"));
        MessageConsumer second = auto(connect()).createConsumer(option(queue(), "consumer.exclusive=true"));
        sendNumbers(auto(connect()), queue(), 10);
        takeTexts(first, 3);
        connection.close();
        equal(numbers(0, 10), takeTexts(second, 10));
    }

    @Test
    void an_exclusive_consumer_of_higher_priority_is_preferred() throws Exception {
        Session session = auto(connect());
        MessageConsumer low = session.createConsumer(option(queue(), "consumer.exclusive=true&consumer.priority=1"));
        MessageConsumer high = session.createConsumer(option(queue(), "consumer.exclusive=true&consumer.priority=5"));
        sendNumbers(session, queue(), 5);
        equal(numbers(0, 5), takeTexts(high, 5));
        nothing(low);
        high.close();
        send(session, queue(), "next");
        equal("next", takeText(low));
    }

    @Test
    void a_consumer_of_higher_priority_is_served_first_until_it_is_full() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = client(connection);
        MessageConsumer low = session.createConsumer(option(queue(), "consumer.priority=-1"));
        MessageConsumer normal = session.createConsumer(queue());
        MessageConsumer high = session.createConsumer(
                option(queue(), "consumer.priority=10&consumer.prefetchSize=3"));
        sendNumbers(auto(connect()), queue(), 8);
        equal(numbers(3, 8), takeTexts(normal, 5));
        equal(numbers(0, 3), takeTexts(high, 3));
        nothing(low);
    }

    @Test
    void consumers_of_equal_priority_take_turns() throws Exception {
        Session session = auto(connect());
        MessageConsumer low = session.createConsumer(option(queue(), "consumer.priority=1"));
        MessageConsumer one = session.createConsumer(option(queue(), "consumer.priority=7"));
        MessageConsumer two = session.createConsumer(option(queue(), "consumer.priority=7"));
        sendNumbers(session, queue(), 10);
        equal(List.of("0", "2", "4", "6", "8"), takeTexts(one, 5));
        equal(List.of("1", "3", "5", "7", "9"), takeTexts(two, 5));
        nothing(low);
    }

    @Test
    void a_consumer_may_close_itself_in_its_listener() throws Exception {
        Session session = auto(connect());
        MessageConsumer consumer = session.createConsumer(queue());
        CountDownLatch closed = new CountDownLatch(1);
        consumer.setMessageListener(message -> {
            try {
                consumer.close();
            } catch (Exception e) {
                throw new RuntimeException(e);
            }
            closed.countDown();
        });
        send(auto(connect()), queue(), "one", "two");
        check(closed.await(SOON, TimeUnit.MILLISECONDS), "not closed");
        equal("two", takeText(auto(connect()).createConsumer(queue())));
    }

    @Test
    void options_in_the_name_do_not_change_the_queue() throws Exception {
        Session session = auto(connect());
        send(session, option(queue(), "consumer.prefetchSize=5"), "one");
        MessageConsumer consumer = session.createConsumer(option(queue(),
                "consumer.prefetchSize=5&consumer.dispatchAsync=false&consumer.retroactive=true&consumer.noLocal=false"
                + "&consumer.maximumPendingMessageLimit=10"));
        Message message = take(consumer);
        equal(queue(), message.getJMSDestination());
    }

    @Test
    void a_selector_may_be_an_option_of_the_name() throws Exception {
        Session session = auto(connect());
        MessageConsumer consumer = session.createConsumer(option(queue(), "consumer.selector=JMSType='x'"));
        Message message = session.createTextMessage("chosen");
        message.setJMSType("x");
        send(session, queue(), "other");
        session.createProducer(queue()).send(message);
        equal("chosen", takeText(consumer));
    }

    @Test
    void many_consumers_come_and_go_and_nothing_is_lost() throws Exception {
        ActiveMQConnection connection = connect("jms.prefetchPolicy.all=5");
        sendNumbers(auto(connection), queue(), 200);
        List<String> got = new ArrayList<>();
        for (int i = 0; i < 100; i++) {
            Session session = auto(connection);
            MessageConsumer consumer = session.createConsumer(queue());
            got.add(takeText(consumer));
            got.add(takeText(consumer));
            session.close();
        }
        equal(numbers(0, 200), got);
    }
}
